"""Trials spread over the processes that torchrun started; without it, one process is the whole world."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_cli.engine.measure import Trials
from snn_cli.errors import CannotCompute, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

PATIENCE = timedelta(hours=24)
"""How long a rank waits for the others' results; one that dies ends the wait at once."""


def rank() -> int:
    """This process's number, 0 where there is one process."""
    return int(os.environ.get("RANK", "0")) if "WORLD_SIZE" in os.environ else 0


class OfOneRank(InputError):
    """An error that this process has met alone, in its part of the data: it tells, whichever it is."""


class Ranks:
    """The processes of a run: ``share`` of the trials is this one's, ``gather`` brings all results together."""

    def __init__(self, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.world = world

    def share(self, trials: Sequence[int], group: int) -> list[int]:
        """Whole groups to each rank in turn: a group that is split would be run twice."""
        return [trial for trial in trials if trial // group % self.world == self.rank]

    def gather(self, found: Trials) -> Trials:
        """The trials of all ranks, on every rank. Raises CannotCompute where one is gone."""
        if self.world == 1:
            return found
        import torch
        import torch.distributed as dist

        sizes = [1, *(column.shape[1] for column in found[1:])]
        where = self.device if dist.get_backend() == "nccl" else torch.device("cpu")
        try:
            counts = [torch.zeros(1, dtype=torch.int64, device=where) for _ in range(self.world)]
            dist.all_gather(counts, torch.tensor([len(found.number)], device=where))
            most = max(int(count) for count in counts)
            packed = np.zeros((most, sum(sizes)))
            packed[: len(found.number)] = np.concatenate([found.number[:, None].astype(float), *found[1:]], axis=1)
            parts = [torch.zeros(packed.shape, dtype=torch.float64, device=where) for _ in range(self.world)]
            dist.all_gather(parts, torch.from_numpy(packed).to(where))
        except RuntimeError as error:
            raise CannotCompute(f"a process of this run is gone: {str(error).splitlines()[0]}") from None
        every = [part[: int(count)].cpu().numpy() for part, count in zip(parts, counts, strict=True)]
        first, *others = (_unpacked(rows, sizes) for rows in every)
        return first.joined(*others)


def _unpacked(rows: Any, sizes: Sequence[int]) -> Trials:
    number, *columns = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    return Trials(number[:, 0].astype(np.int64), *columns)


@contextmanager
def ranks(device: torch.device) -> Iterator[Ranks]:
    """The processes of this run, as torchrun's environment names them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device)
        return
    import torch
    import torch.distributed as dist

    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise CannotCompute(f"the processes of this run do not find each other: {str(error).splitlines()[0]}") from None
    try:
        yield Ranks(device, dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
