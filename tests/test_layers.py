"""Imports only go down, and what is heavy is loaded only where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import snn_cli

PACKAGE = Path(snn_cli.__file__).parent
FOUNDATION = {"errors", "exact", "records", "arithmetic"}

# room -> the other rooms that it may import, besides errors and itself
ALLOWED = {
    "errors": set(),
    "exact": set(),
    "records": {"activations"},  # inside .function(), .derivative() and .at() alone
    "arithmetic": set(),
    "gaussian": {"arithmetic"},
    "activations": {"exact", "arithmetic", "gaussian"},  # and by its registry code that is installed
    "ensembles": set(),
    "graph": set(),
    "propagation": {"exact", "graph", "arithmetic", "gaussian", "activations", "ensembles"},
    "program": FOUNDATION | {"activations", "propagation"},
    "solver": FOUNDATION | {"gaussian", "activations", "propagation", "certify", "program"},
    "simulation": FOUNDATION | {"activations", "ensembles", "propagation", "solver", "models"},
    "architectures": {"exact"},
    "prediction": FOUNDATION | {"activations", "ensembles", "architectures", "propagation", "simulation"},
    "engine": {"exact", "graph", "activations", "ensembles"},
    "verification": FOUNDATION
    | {"activations", "ensembles", "architectures", "simulation", "prediction", "engine", "models"},
    "data": set(),
    "models": FOUNDATION | {"graph", "propagation", "engine"},
    "training": FOUNDATION
    | {"activations", "ensembles", "architectures", "solver", "simulation", "engine", "nn", "data"},
    "testing": {"models", "records", "reports"},
    "nn": {"exact", "records", "solver", "activations", "ensembles"},
    "analysis": FOUNDATION | {"activations", "gaussian", "propagation", "simulation"},
    "exporters": {"activations"},
    "exportation": FOUNDATION | {"activations", "exporters", "solver", "simulation"},
    "certify": FOUNDATION | {"gaussian", "propagation", "solver"},
    "explanation": FOUNDATION | {"gaussian", "activations"},
    "reports": {"records", "activations"},
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


def imports(path: Path):
    """Every module that a file imports, wherever in it, except for type checking alone."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
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
