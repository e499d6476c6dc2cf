"""Figures of propagations: layer by layer, the growth over what a sweep varies, and how much weight mean is tolerated.

Large and small quantities are drawn as their decimal logarithms on linear axes, so that no scale can overflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snn_cli.errors import InputError
from snn_cli.reports.plot import write
from snn_cli.reports.propagation_plot import layers, settings, sweep, weight_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snn_cli.records import Propagation


def propagations(records: Sequence[Propagation], path: str, *, force: bool = True) -> None:
    """Draw propagations into a file, all of it or nothing: it is written under another name and then renamed.

    With profiles: panels of the gradient, the second moment and the correlation over the layers, a line for each
    record, with a band of one deviation over networks where the fan-in is finite. Otherwise the typical growth of the
    gradient over the option that varies, a line for each combination of the others.

    force
        Replace a file that has appeared since ``plot.check``.

    Raises InputError where there is nothing to draw or the file cannot be written, MissingExtra without matplotlib.
    """
    write(lambda: _figure(records), path, force=force)


def tolerance(records: Sequence[Propagation], path: str, *, force: bool = True) -> None:
    """Draw over the fan-in the weight mean that is tolerated, a line for each activation and remedy.

    Remedies that take the mean out of the weights or activations have no limit; the weight mean asked for and the
    fan-in at which it becomes too much are marked.

    Raises as ``propagations`` does.
    """
    write(lambda: weight_mean.figure(records), path, force=force)


def _figure(records: Sequence[Propagation]) -> Any:
    if not records:
        raise InputError("--plot has nothing to draw: there is no record", settings.ALL_LAYERS)
    if all(record.profile is not None for record in records):
        return layers.figure(records)
    return sweep.figure(records)
