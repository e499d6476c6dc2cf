"""Imports only go down, and what is heavy is loaded only where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import snn_cli

PACKAGE = Path(snn_cli.__file__).parent
FOUNDATION = {"errors", "exact", "files", "records", "arithmetic"}

# room -> the other rooms that it may import, besides errors and itself
ALLOWED = {
    "errors": set(),
    "exact": set(),
    "files": set(),
    "records": {"activations"},  # inside .function(), .derivative() and .at() alone
    "arithmetic": set(),
    "gaussian": {"arithmetic"},
    "activations": {"exact", "arithmetic", "gaussian"},  # and by its registry code that is installed
    "ensembles": set(),
    "graph": set(),
    "propagation": {"exact", "arithmetic", "gaussian"},
    "problem": set(),
    "program": FOUNDATION | {"activations", "problem", "propagation"},
    "solver": FOUNDATION | {"gaussian", "activations", "problem", "propagation", "certify", "program"},
    "simulation": FOUNDATION | {"activations", "ensembles", "propagation", "solver", "models"},
    "architectures": {"exact"},
    "prediction": FOUNDATION | {"activations", "ensembles", "architectures", "propagation", "simulation"},
    "engine": {"exact", "graph", "activations", "ensembles"},
    "verification": FOUNDATION
    | {"activations", "ensembles", "architectures", "simulation", "prediction", "engine", "models"},
    "data": set(),
    "models": FOUNDATION | {"propagation", "engine"},
    "training": FOUNDATION
    | {"activations", "ensembles", "architectures", "solver", "simulation", "engine", "nn", "data"},
    "testing": {"models", "records", "reports"},
    "nn": {"exact", "records", "solver", "activations", "ensembles", "engine", "propagation"},
    "analysis": FOUNDATION | {"activations", "gaussian", "propagation", "simulation"},
    "exporters": {"activations"},
    "exportation": FOUNDATION | {"activations", "exporters", "solver", "simulation"},
    "certify": FOUNDATION | {"gaussian", "problem", "propagation"},
    "explanation": FOUNDATION | {"activations"},
    "reports": {"files", "records", "activations"},
    "cli": FOUNDATION
    | {"activations", "architectures", "ensembles", "solver", "simulation", "verification", "models", "certify"}
    | {"explanation", "reports", "training", "data", "engine", "exporters", "exportation", "analysis"},
    "__init__": {
        "records",
        "solver",
        "simulation",
        "verification",
        "models",
        "testing",
        "training",
        "explanation",
        "exportation",
        "analysis",
    },
    "__main__": {"cli"},
}
OUTSIDE = {
    "click": {"cli"},
    "rich": {"cli", "reports"},
    "torch": {"engine", "nn", "training"},
    "triton": {"nn"},
    "matplotlib": {"reports"},
    "sympy": {"activations", "arithmetic", "explanation"},
}


def statements(path: Path):
    """The imports in a file, wherever in it, except for type checking alone."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in skipped:
            assert isinstance(node, ast.Import) or node.level == 0, f"{path}: absolute imports only"
            yield node


def imports(path: Path):
    """Every module that a file imports."""
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield node.module
            if node.module == "snn_cli":
                yield from (f"snn_cli.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def violations(files) -> list[str]:
    found = []
    for path in files:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for name in imports(path):
            top = name.split(".")[0]
            if top in OUTSIDE and parts[0] not in OUTSIDE[top]:
                found.append(f"{'/'.join(parts)} imports {name}")
            if top == "snn_cli" and name != "snn_cli":
                other = room(name)
                if other not in {*ALLOWED[parts[0]], "errors", parts[0], "__version__"}:
                    found.append(f"{'/'.join(parts)} imports {name}")
    return found


def test_imports_only_go_down():
    files = sorted(PACKAGE.rglob("*.py"))
    assert {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in files} <= set(ALLOWED)
    assert violations(files) == []


def test_the_rule_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "gaussian.py").write_text("from snn_cli.solver import solve\nimport click\n")
    assert len(violations([tmp_path / "gaussian.py"])) == 2


def imported(folder: Path) -> dict[str, set[str]]:
    """By module: those that it imports; a package whose modules are taken one by one is not among them."""
    paths = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found = {}
    for module, path in paths.items():
        needs = set()
        for node in statements(path):
            if isinstance(node, ast.Import):
                needs |= {alias.name for alias in node.names}
            else:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                needs |= inner & paths.keys() if inner <= paths.keys() else {node.module, *(inner & paths.keys())}
        found[module] = needs & paths.keys() - {module}
    return found


def cycles(needs: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Modules that need each other, in groups."""
    reached = {module: {module} for module in needs}
    changed = True
    while changed:
        changed = False
        for own in reached.values():
            more = set().union(*(reached.get(other, set()) | needs.get(other, set()) for other in own)) - own
            own |= more
            changed = changed or bool(more)
    groups = {
        tuple(sorted(other for other in own if module in reached.get(other, set()))) for module, own in reached.items()
    }
    return sorted(group for group in groups if len(group) > 1)


def test_no_module_needs_itself():
    """Within a room as between them, what a module imports never leads back to it, imports in functions included."""
    assert cycles(imported(PACKAGE)) == []


def test_a_cycle_of_modules_is_found(tmp_path):
    folder = tmp_path / "snn_cli"
    (folder / "room").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "a.py": "from snn_cli import b",
        "b.py": "if True:\n    from snn_cli.room.c import x",
        "room/__init__.py": "",
        "room/c.py": "def later():\n    import snn_cli.a",
        "d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from snn_cli import e",
        "e.py": "from snn_cli.d import y\nfrom snn_cli.a import z",
    }.items():
        (folder / name).write_text(text)
    assert cycles(imported(folder)) == [("snn_cli.a", "snn_cli.b", "snn_cli.room.c")]


def test_records_load_families_only_when_asked():
    code = (
        "import sys, snn_cli.records; print([m for m in sys.modules if 'activations' in m or m in ('numpy', 'mpmath')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--help"],
        ["solve", "--help"],
        ["solve", "--act", "lselu", "--epsilon", "0.03", "--json"],
        ["solve", "--act", "sselu,selu", "--depth", "100", "--csv"],
        ["solve", "--act", "sselu", "--epsilon", "0.03", "--digits", "50"],
        ["solve", "--act", "lselu", "--epsilon", "auto", "--fanin", "64"],
    ],
    ids=" ".join,
)
def test_solve_is_light(args):
    code = (
        "import sys; from snn_cli.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'sympy', 'scipy', 'numpy', 'matplotlib', 'rich'} & set(sys.modules);"
        "sys.exit(code or (99 if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
