"""Files that are written whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def taken(path: str) -> bool:
    """Whether something is there that writing would replace: not a pipe nor a device, which are written into."""
    try:
        return os.path.exists(path) and (os.path.isfile(path) or os.path.isdir(path))
    except ValueError:  # no name of a file
        return False


@contextmanager
def whole(path: str, *, binary: bool = False, force: bool = True) -> Iterator[IO[Any]]:
    """A file to write into, which takes the place of ``path`` once all of it is there.

    It is written under a name of its own in the same folder, brought to the disk and renamed. A process that is killed
    leaves what was there before, and of two that write the same file one leaves all of its own. A link stays a link,
    permissions stay what they were, and a pipe or a device is written into as it stands.

    force
        Replace a file that is there; if not, FileExistsError, also where it has appeared in the meantime.

    Raises OSError where it cannot be written.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    encoding = None if binary else "utf-8"
    if os.path.exists(path) and not taken(path):
        with open(path, "wb" if binary else "w", encoding=encoding) as stream:
            yield stream
        return
    target = os.path.realpath(path)
    temporary = beside(target)
    try:
        with open(temporary, "xb" if binary else "x", encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if force:
            with suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(target).st_mode & 0o7777)
            os.replace(temporary, target)
        else:
            _claim(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)


def beside(target: str) -> str:
    """A name in the same folder that nobody else has; hidden, and short enough wherever the name itself is."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:40]}.{secrets.token_hex(4)}.tmp")


def _claim(temporary: str, target: str) -> None:
    """Rename, unless there is a file of that name. Raises FileExistsError."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(target, "xb"):
            pass
        os.replace(temporary, target)
