"""Verify: measure real random networks, hold them against theory, and give a verdict.

`request`: what is asked for, each value inside its domain; `networks`: what is run; `saved`: the file that keeps every
network's numbers; `verdict`: the test of theory; `judging`: the record; `command` puts all of it together.
"""

from __future__ import annotations

from snn_cli.verification.command import rank, verify
from snn_cli.verification.request import check

__all__ = ["check", "rank", "verify"]
