"""The record of a training: one variant on one data set, over several seeds, beside a baseline with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from snn_cli.records.propagation import part
from snn_cli.records.solution import VERSION, Note, Params, numbers, reading


class Accuracy(NamedTuple):
    """Fractions of the test images: mean, deviation over seeds, and each run's; of a diverged run that of guessing."""

    mean: float
    sd: float | None
    runs: tuple[float, ...]


class Difference(NamedTuple):
    """Of the accuracy to that of the baseline, run by run of the same seed: its mean and standard error."""

    baseline: str
    mean: float
    se: float | None


class Growth(NamedTuple):
    """``log(|g[1]|^2 / |g[L]|^2)`` of the loss, first layer over last; means over seeds, before and after training."""

    start: float | None
    end: float | None


class Tried(NamedTuple):
    """A learning rate and what it gave on the validation images, with one seed."""

    learning_rate: float
    accuracy: float
    loss: float | None
    diverged: bool


class Curve(NamedTuple):
    """Arrays over epochs, means over seeds of what the training batches gave as they went by."""

    epoch: tuple[int, ...]
    loss: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """What a variant reached on real data, over seeds, and how its gradient grew before and after.

    variant, act, epsilon, params
        Name with suffixes; the activation, as it was solved.
    data, architecture, depth, fan_in, batch, epochs, seeds, seed
        ``fan_in``: of the layers between activations, None where they differ. ``seeds`` runs, numbered from ``seed``.
    learning_rate, tried
        The one that was used, and those that it was chosen from.
    accuracy, loss, train_loss
        On the test images, that were touched once a run; cross-entropy there and in the last epoch of training, means
        over the runs that did not diverge.
    gradient, difference, diverged
        Growth; difference to the baseline, None for the baseline itself; runs whose loss stopped being finite.
    parameters, seconds
        Numbers that are trained; wall-clock time of all runs, which may differ between two runs of one command.
    """

    variant: str
    act: str
    epsilon: float | None
    params: Params
    data: str
    architecture: str
    depth: int
    fan_in: int | None
    batch: int
    epochs: int
    seeds: int
    seed: int
    learning_rate: float
    tried: tuple[Tried, ...]
    accuracy: Accuracy
    loss: float | None
    train_loss: float | None
    gradient: Growth
    difference: Difference | None
    diverged: int
    parameters: int
    weights: str
    device: str
    precision: str
    notes: tuple[Note, ...]
    profile: Curve | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, ``kind`` and ``version`` first, keys in a fixed order."""
        data: dict[str, Any] = {"kind": "training", "version": VERSION}
        for name in self.__dataclass_fields__:
            data[name] = getattr(self, name)
        data["params"] = dict(self.params)
        data["tried"] = [each._asdict() for each in self.tried]
        data["accuracy"] = {**self.accuracy._asdict(), "runs": list(self.accuracy.runs)}
        data["gradient"] = self.gradient._asdict()
        data["difference"] = None if self.difference is None else self.difference._asdict()
        data["notes"] = [note.value for note in self.notes]
        if self.profile is None:
            del data["profile"]
        else:
            data["profile"] = {name: list(column) for name, column in self.profile._asdict().items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Training:
        """Read back what ``to_dict`` wrote. Raises InputError for any other kind, version, field or type."""
        with reading("training", data, "snn train --json"):
            fields = {name: data[name] for name in cls.__dataclass_fields__ if name != "profile"}
            fields["params"] = numbers(data["params"])
            fields["tried"] = tuple(part(Tried, each) for each in data["tried"])
            accuracy = data["accuracy"]
            fields["accuracy"] = Accuracy(accuracy["mean"], accuracy["sd"], tuple(map(float, accuracy["runs"])))
            fields["gradient"] = part(Growth, data["gradient"])
            fields["difference"] = None if data["difference"] is None else Difference(**data["difference"])
            fields["notes"] = tuple(Note(code) for code in data["notes"])
            columns: dict[str, Any] = {k: tuple(v) for k, v in data.get("profile", {}).items()}
            fields["profile"] = Curve(**columns) if columns else None
        return cls(**fields)
