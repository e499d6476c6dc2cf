"""``python -m snn_cli`` is ``snn``."""

from snn_cli.cli.main import run

run()
