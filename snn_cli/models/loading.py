"""A model that is named by its path, ``package.module:callable``: what makes it."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

from snn_cli.engine import device as devices
from snn_cli.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = "--model mypackage.models:make_net --input 3x64x64"


def split(path: str) -> tuple[str, str]:
    """Module and name. Raises InputError for a path that is none."""
    module_name, _, name = path.partition(":")
    file = module_name.endswith(".py") and os.path.isfile(module_name)
    if file or not name or not module_name or os.sep in module_name:
        file = file or os.path.isfile(f"{module_name}.py")
        hint = f"--model {_dotted(module_name)}:{name or 'make_net'}" if file else EXAMPLE
        raise InputError(f"--model is {path}; it takes package.module:callable", hint)
    return module_name, name


def _dotted(file: str) -> str:
    """The module that a file is, from the current directory."""
    return os.path.splitext(os.path.normpath(file))[0].replace(os.sep, ".")


def _alike(module_name: str, name: str) -> str:
    """What to type in place of a module that is not there."""
    files = [file[:-3] for file in os.listdir() if file.endswith(".py")]
    near = nearest(module_name, files)
    otherwise = "a path such as mypackage.models:make_net, from the folder that holds mypackage"
    return f"--model {near}:{name}" if near else otherwise


def load(path: str) -> Callable[[], Any]:
    """The callable at ``package.module:name``, with the current directory importable. Raises InputError."""
    module_name, name = split(path)
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"--model {path}: there is no module {error.name} here or among the installed ones",
                _alike(module_name, name),
            ) from None
        raise InputError(f"--model {path}: {module_name} imports {error.name}, which is not there", None) from error
    except Exception as error:
        raise InputError(
            f"--model {path}: importing {module_name} raises {type(error).__name__}: {first_line(error)}", None
        ) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = nearest(part, [n for n in dir(found) if not n.startswith("_")])
            raise InputError(
                f"--model {path}: {module_name} has no {part}",
                f"--model {module_name}:{near}" if near else f"a name that {module_name} defines",
            )
        found = getattr(found, part)
    return maker(found, f"--model {path}")


def maker(found: Any, path: str) -> Callable[[], Any]:
    """Of a model, or what returns one. Raises InputError for anything else, now or when it is called."""
    torch = devices.require_torch()
    if isinstance(found, torch.nn.Module):
        return lambda: found
    if not callable(found):
        raise InputError(f"{path} is a {type(found).__name__}, not a function that returns a model", EXAMPLE)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise InputError(
            f"{path} cannot be called without arguments: {error}",
            "a function of no arguments, such as def make_net(): return Net(width=64)",
        ) from None
    except ValueError:  # no signature to be had
        pass

    def make() -> Any:
        try:
            return found()
        except Exception as error:
            raise InputError(f"{path} raises {type(error).__name__}: {first_line(error)}", None) from error

    return make


def first_line(error: BaseException) -> str:
    """Of its message."""
    text = str(error).strip()
    return text.splitlines()[0] if text else "without a message"
