"""Processes that do not load torch again: a server that has loaded everything forks one for each command.

The commands of ``Warm`` are small clients, for ``snn ARGS`` and for ``python -c CODE ARGS``. What they start is a
process of its own, with the client's arguments, directory, environment and streams; its exit code becomes theirs, and
Ctrl-C is passed on to it. It has computed nothing yet, but what a fresh process would load only when it needs it is
there already. So what is about loading, about memory, about kills or about the end of the interpreter is tested on
``python -m snn_cli`` itself.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = """#!{python} -IS
import _signal, _socket, _struct, marshal, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
server.sendmsg([b"-"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("3i", 0, 1, 2))])
asked = marshal.dumps(({name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)))
asked = _struct.pack("i", len(asked)) + asked
while asked:
    asked = asked[server.send(asked):]
pid = _struct.unpack("i", server.recv(4))[0]
_signal.signal(_signal.SIGINT, lambda number, _: os.kill(pid, number))
answer = server.recv(4)
os._exit(_struct.unpack("i", answer)[0] if answer else 70)
"""

LOADED = ("torch._dynamo", "numpy", "scipy.special", "scipy.optimize", "scipy.stats", "sympy", "mpmath",
          "matplotlib.figure", "matplotlib.backends.backend_svg", "sklearn.datasets")  # fmt: skip


class Warm(NamedTuple):
    """An environment in whose ``PATH`` ``snn`` is a client, and the client that is ``python -c``."""

    environment: dict[str, str]
    python: str

    @classmethod
    def of(cls, folder: str) -> Warm:
        """The clients in a folder."""
        path = (os.path.join(folder, "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
        return cls({**os.environ, "PATH": os.pathsep.join(path)}, os.path.join(folder, "python"))


@contextmanager
def serving() -> Iterator[str]:
    """A folder of clients, and a server for them that loads everything when the first of them asks."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = os.path.join(folder, "socket")
        Path(folder, "bin").mkdir()
        for name, client in (("snn", Path(folder, "bin", "snn")), ("python", Path(folder, "python"))):
            client.write_text(CLIENT.format(python=sys.executable, address=address, name=name), encoding="utf-8")
            client.chmod(0o755)
        listener.bind(address)
        listener.listen(64)
        with subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        ):
            yield folder  # leaving closes standard input, and waits


def serve(listener: socket.socket) -> None:
    """A process for each connection, until standard input ends."""
    if 0 in select.select([listener, 0], [], [])[0]:
        return
    for name in LOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    import snn_cli

    for module in pkgutil.walk_packages(snn_cli.__path__, "snn_cli."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # nor does a fork copy what the collector would have looked at
    ended, end = socket.socketpair()
    end.setblocking(False)
    signal.set_wakeup_fd(end.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    clients: dict[int, socket.socket] = {}
    while 0 not in (ready := select.select([listener, ended, 0], [], [])[0]):
        if ended in ready:
            ended.recv(4096)
            tell(clients)
        if listener in ready:
            with suppress(OSError, EOFError):  # a client that has been killed meanwhile
                client, _ = listener.accept()
                _, streams, _, _ = socket.recv_fds(client, 1, 3)
                (size,) = struct.unpack("i", received(client, 4))
                asked = received(client, size)
                if not (child := os.fork()):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    run(streams, *marshal.loads(asked))
                clients[child] = client
                for stream in streams:
                    os.close(stream)
                client.sendall(struct.pack("i", child))
    for child in clients:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os._exit(0)


def tell(clients: dict[int, socket.socket]) -> None:
    """Those whose process has ended, how."""
    while clients:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            break
        code = os.waitstatus_to_exitcode(status)
        with clients.pop(child) as client, suppress(OSError):
            client.sendall(struct.pack("i", code if code >= 0 else 128 - code))


def received(connection: socket.socket, size: int) -> bytes:
    """So many bytes; raises EOFError where there are fewer."""
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def run(streams: list[int], name: str, argv: list[str], directory: str, environment: dict[str, str]) -> NoReturn:
    """Be ``snn`` or ``python -c``, as if this process had just been started."""
    code = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 64)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115
        main: Any = ModuleType("__main__")
        sys.modules["__main__"] = main
        if name == "snn":
            sys.argv = ["snn", *argv]
            runpy.run_module("snn_cli", run_name="__main__")
        else:
            _, source, *rest = argv  # -c
            sys.argv = ["-c", *rest]
            sys.path.insert(0, "")
            exec(compile(source, "<string>", "exec"), main.__dict__)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        for file in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                file.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]  # nobody's but this script's
    serve(socket.socket(fileno=int(sys.argv[1])))
