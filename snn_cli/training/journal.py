"""What a comparison has finished, and where the run that it is in stands: one file, written whole after every epoch."""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.errors import CannotCompute, InputError
from snn_cli.files import whole
from snn_cli.training.loop import Epoch, Part, Run, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_KIND = "training-checkpoint"
_VERSION = 1
_DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What numpy, zipfile and json raise for bytes that are not what they wrote."""


class Journal:
    """Finished runs by name, and the state of the unfinished one.

    The file holds numpy arrays and JSON, and is never unpickled. It is written under another name and then renamed, so
    that a process that is killed leaves the one before.
    """

    def __init__(self, path: str | None, signature: Mapping[str, Any], writes: bool = True) -> None:
        self._path = path
        self._signature = json.loads(json.dumps(signature))
        self._writes = writes and path is not None
        self._finished: dict[str, Run] = {}
        self._running: tuple[str, State] | None = None

    @classmethod
    def resumed(cls, path: str, signature: Mapping[str, Any], writes: bool = True) -> Journal:
        """The one in that file. Raises InputError for a file that is none, is damaged, or is of another comparison."""
        found = cls(path, signature, writes)
        try:
            with open(path, "rb") as file:
                arrays = dict(np.load(io.BytesIO(file.read()), allow_pickle=False))
            meta = json.loads(bytes(arrays.pop("meta")).decode())
            if meta["kind"] != _KIND or meta["version"] != _VERSION:
                raise ValueError("it is of another kind")
            theirs = meta["signature"]
            finished = {name: _run(run) for name, run in meta["finished"].items()}
            running = meta["running"]
            state = None
            if running is not None:
                epochs = tuple(Epoch(*map(_finite, epoch)) for epoch in running["epochs"])
                part = Part(*map(_finite, running["part"]))
                seconds = float(running["seconds"])
                state = running["name"], State(arrays, epochs, _finite(running["start"]), seconds, part)
        except OSError as error:
            raise InputError(
                f"--resume {path} cannot be read: {error.strerror or error}", "--checkpoint FILE"
            ) from None
        except _DAMAGED as error:
            raise InputError(f"--resume {path} is no whole checkpoint: {error}", "--checkpoint FILE") from None
        for name, value in found._signature.items():
            if theirs.get(name) != value:
                raise InputError(
                    f"--resume {path} is of another comparison: its {name} is {theirs.get(name)!r}, not {value!r}",
                    f"--checkpoint {path}.new",
                )
        found._finished, found._running = finished, state
        return found

    def finished(self, name: str) -> Run | None:
        """What the run of that name gave, if it is finished."""
        return self._finished.get(name)

    def state(self, name: str) -> State | None:
        """Where the run of that name stands, if it is the one that was interrupted."""
        return self._running[1] if self._running is not None and self._running[0] == name else None

    @property
    def writes(self) -> bool:
        """Whether there is a file, and this process is the one that writes it."""
        return self._writes

    def epochs(self) -> list[tuple[str, Epoch]]:
        """All that were finished, each with the name of its run, in the order in which they were."""
        runs = {name: run.epochs for name, run in self._finished.items()}
        if self._running is not None:
            runs[self._running[0]] = self._running[1].epochs
        return [(name, epoch) for name, epochs in runs.items() for epoch in epochs]

    def stands(self, name: str, state: State) -> None:
        """Keep the state of a run."""
        self._running = name, state
        self._write()

    def finish(self, name: str, run: Run) -> None:
        """Keep what a run gave."""
        self._finished[name] = run
        self._running = None
        self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        assert self._path is not None
        meta: dict[str, Any] = {
            "kind": _KIND,
            "version": _VERSION,
            "signature": self._signature,
            "finished": {name: run._asdict() for name, run in self._finished.items()},
            "running": None,
        }
        arrays: dict[str, Any] = {}
        if self._running is not None:
            name, state = self._running
            meta["running"] = {
                "name": name,
                "epochs": state.epochs,
                "start": state.start,
                "seconds": state.seconds,
                "part": state.part,
            }
            arrays = dict(state.arrays)
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        try:
            with whole(self._path, binary=True) as file:
                np.savez(file, **arrays)
        except OSError as error:
            raise CannotCompute(
                f"{self._path} cannot be written: {error.strerror or error}", "--checkpoint FILE"
            ) from None


def _run(data: Mapping[str, Any]) -> Run:
    epochs = tuple(Epoch(*map(_finite, epoch)) for epoch in data["epochs"])
    start, end = map(_finite, data["gradient"])
    return Run(**{**data, "gradient": (start, end), "epochs": epochs})


def _finite(value: Any) -> Any:
    """A number as JSON has it; Python's JSON holds nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return value
