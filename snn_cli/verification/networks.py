"""The networks that are run: what theory was told of, with its deviations and remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from snn_cli import ensembles
from snn_cli.engine.convolution import Convolutional
from snn_cli.engine.network import Architecture
from snn_cli.engine.sampling import Mixing

if TYPE_CHECKING:
    from snn_cli.records import Propagation
    from snn_cli.verification.request import Request


class Run(NamedTuple):
    """Everything that decides what is measured, but for the number of trials."""

    architecture: Architecture | Convolutional
    batch: int
    dtype: str
    seed: int

    def signature(self, device: str) -> dict[str, Any]:
        """What a resumed run must share."""
        net = self.architecture
        shape: dict[str, Any] = (
            {"widths": list(net.widths)}
            if isinstance(net, Architecture)
            else {"stages": [list(stage) for stage in net.stages]}
        )
        remedies = {
            "weight_mean": net.weight_mean,
            "centralize": net.centralize,
            "centralize_activation": net.centralize_activation,
            "mixing": None if net.mixing is None else list(net.mixing),
            "means": net.means,
        }
        return {
            "act": net.act,
            "params": dict(net.params),
            **shape,
            **{name: value for name, value in remedies.items() if value},
            "weights": net.ensemble.name,
            "sigma_w": net.sigma_w,
            "sigma_b": net.sigma_b,
            "q0": net.q0,
            "batch": self.batch,
            "dtype": self.dtype,
            "seed": self.seed,
            "device": device,
        }


def networks(theory: Propagation, request: Request) -> Run:
    """Those of a record of `simulate`."""
    beta = theory.mixup or theory.scaled_mixup
    common: dict[str, Any] = {
        "act": theory.act,
        "params": tuple(theory.params.items()),
        "ensemble": ensembles.get(theory.weights),
        "sigma_w": theory.sigma_w,
        "sigma_b": theory.sigma_b,
        "q0": request.q0,
        "weight_mean": theory.weight_mean,
        "centralize": theory.centralize,
        "centralize_activation": theory.centralize_activation,
        "mixing": None if beta is None else Mixing(beta, theory.mixup is None),
        "means": bool(theory.weight_mean or theory.centralize or theory.centralize_activation or beta),
    }
    net: Architecture | Convolutional
    if request.stages is not None:
        net = Convolutional(stages=request.stages, **common)
    else:
        widths = theory.widths
        if widths is None:
            assert theory.fan_in is not None
            widths = (theory.fan_in,) * (theory.depth + 1)
        net = Architecture(widths=widths, **common)
    return Run(net, request.batch, request.dtype, request.seed)
