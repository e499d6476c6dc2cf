"""For test suites: one line that holds a model to its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.models import verify_model
from snn_cli.reports.model import findings

if TYPE_CHECKING:
    import torch

    from snn_cli.exact import Number
    from snn_cli.records import ModelReport


def assert_self_normalizing(
    model: torch.nn.Module, batch: Any, max_growth: Number = 10, *, seed: int | str = 0
) -> ModelReport:
    """Raise AssertionError where the squared gradient leaves the factor on its way back, at any layer or as a whole.

    Of layers those count that all paths pass: inside a branch the gradient is as small as the branch is.
    Arguments as for `verify_model`, which is run; its report is returned where all is well. Average pooling that every
    path passes is not counted: an average before the head is no failure, a gradient that vanishes behind it is. The
    message says where and why, and what to do. ``max_growth`` is a factor of the squared gradient, either way.

    Raises InputError and CannotCompute as `verify_model`. Source: as for `verify_model`.
    """
    report = verify_model(model, batch, max_growth=max_growth, seed=seed)
    if report.first_violation is not None or report.broken_layer is not None or not report.verdict.within_budget:
        raise AssertionError("\n".join(["the model is not self-normalizing:", *findings(report)]))
    return report
