"""Where and in what precision a network runs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from snn_cli.errors import CannotCompute, InputError, MissingExtra, nearest

if TYPE_CHECKING:
    import torch

DTYPES = ("float64", "float32", "bfloat16", "float16")

_MARGIN = 0.2  # of the free memory, left to others


def require_torch() -> Any:
    """The torch module. Raises MissingExtra where it is not installed."""
    if find_spec("torch") is None:
        raise MissingExtra("a measurement on real networks", "PyTorch", "torch")
    try:
        import torch
    except (ImportError, OSError) as error:
        raise CannotCompute(
            f"PyTorch is installed but does not start: {error}", "pip install 'snn-cli[torch]'"
        ) from None
    return torch


def check_names(device: str, dtype: str) -> None:
    """Raise InputError for a device or a dtype that is none, without loading torch."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps", "auto") or (index and (kind != "cuda" or not index.isdecimal())):
        raise InputError(f"--device {device} is no device; it is cpu, cuda, cuda:1, mps or auto", "--device cpu")
    if dtype not in DTYPES:
        near = nearest(dtype, DTYPES, "float32")
        raise InputError(f"--dtype {dtype} is none of {', '.join(DTYPES)}", f"--dtype {near}")


def resolve(device: str) -> torch.device:
    """The torch device of that name, found out by touching it; ``auto`` is cuda, mps or cpu, the first there is.

    Raises CannotCompute where it is not there, naming ``--device cpu``.
    """
    torch = require_torch()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    found = torch.device(device)
    try:
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CannotCompute(f"--device {device} is not there: {reason}", "--device cpu") from None
    return found  # type: ignore[no-any-return]


def free_memory(device: torch.device) -> int:
    """Bytes that a run may take: what is free, less a margin."""
    torch = require_torch()
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
    else:
        free = _available()
    return int(free * (1 - _MARGIN))


def _available() -> int:
    limits = []
    try:
        with open("/proc/meminfo") as lines:
            limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                limits.append(int(file.read()))
        except (OSError, ValueError):
            pass
    if not limits:
        try:
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (ValueError, OSError, AttributeError):
            limits.append(4 * 1024**3)
    return min(limits)


def resident(device: torch.device) -> int:
    """Main memory that this process holds now, torch included; 0 on other devices, and where it cannot be told."""
    if device.type != "cpu":
        return 0
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return 0


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process held at once: on the device, or of main memory."""
    torch = require_torch()
    if device.type == "cuda":
        peak: int = torch.cuda.max_memory_allocated(device)
        return peak
    try:  # ru_maxrss starts from that of the process that started this one
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
        import sys

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024
    except ImportError:
        return 0
