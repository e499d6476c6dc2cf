"""What the benchmarks share: targets, rivals that are not installed, and one way to print."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def common() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return importlib.import_module("benchmarks.common")


def test_a_target_is_met_by_the_median_or_by_each(common: Any) -> None:
    values = [0.5, 1.0, 3.0]
    assert common.at_most("c", 1.2, values) == common.Target("c", "at most 1.2", "1.00 (0.50 to 3.00)", True)
    assert not common.at_most("c", 0.9, values).met
    each = common.at_most("c", 1.2, values, each=True)
    assert (each.measured, each.met) == ("1.00 (0.50 to 3.00), 2 of 3", False)
    assert common.at_least("c", 0.5, values, "{:.0f}", each=True).measured == "1 (0 to 3), 3 of 3"
    assert common.at_least("c", 1e-12, [1e-12], "{:.0e}") == common.Target("c", "at least 1e-12", "1e-12", True)


@given(st.lists(st.floats(0.01, 100), min_size=1), st.floats(0.01, 100))
def test_more_than_the_limit_is_less_than_none(common: Any, values: list[float], limit: float) -> None:
    met = [
        (side(name, limit, values).met, side(name, limit, values, each=True).met)
        for name, side in (("most", common.at_most), ("least", common.at_least))
    ]
    assert any(median for median, _ in met)
    assert all(median or not every for median, every in met)


def absent(common: Any) -> Any:
    return common.Rival("Against it", "It", "no_module_of_this_name", ("it==1",), "python -m benchmarks.x --it")


def test_what_is_not_installed_is_named_and_nothing_is_installed_unasked(
    common: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "install", lambda *_: pytest.fail("it was installed"))
    with pytest.raises(common.Missing) as missing, common.having(absent(common), asked=False):
        pass
    table = common.skipped(absent(common), missing.value)
    assert table.title == "Against it: skipped"
    ((name, packages, reason),) = table.rows
    assert (name, packages) == ("It", "it==1")
    assert "python -m benchmarks.x --it" in reason


def test_it_is_installed_where_that_is_asked_for_and_needed(common: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(common, "install", lambda _, packages: asked.append(packages) or ["its python"])
    with common.having(absent(common), asked=True) as interpreter:
        assert interpreter == ["its python"]
    with common.having(absent(common)._replace(module="json"), asked=True) as interpreter:
        assert interpreter == common.python("-W", "ignore")
    assert asked == [("it==1",)]


@pytest.mark.usefixtures("common")
@pytest.mark.parametrize(
    ("name", "arguments"), [("wrap", (False, 1, {})), ("simulate", (False, (200,), 1, "one"))], ids=["dks", "tangents"]
)
def test_a_rival_that_fails_is_a_table_that_says_so(monkeypatch: pytest.MonkeyPatch, name: str, arguments: Any) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    rival, compare = {"wrap": ("SHAPING", "against_shaping"), "simulate": ("TANGENTS", "against_tangents")}[name]
    monkeypatch.setattr(module, rival, getattr(module, rival)._replace(module="no_module_of_this_name"))
    found = getattr(module, compare)(*arguments)
    table = found[0] if isinstance(found, tuple) else found
    assert table.title.endswith(": skipped")
    assert table.rows[0][0] == getattr(module, rival).name

    def broken(*_: Any) -> Any:
        raise RuntimeError("exit code 1 from: a | b")

    monkeypatch.setattr(module, "having", broken)
    found = getattr(module, compare)(*arguments)
    table = found[0] if isinstance(found, tuple) else found
    assert table.rows[0][-1] == "exit code 1 from: a / b"


def test_the_header_has_the_version_of_sources_without_metadata(common: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from snn_cli import __version__

    def nothing(name: str) -> str:
        raise common.PackageNotFoundError(name)

    monkeypatch.setattr(common, "version", nothing)
    text = common.header(common.machine())
    assert f"snn-cli {__version__}, click not installed" in text


def test_text_and_json_say_the_same(common: Any, capsys: pytest.CaptureFixture[str]) -> None:
    table = common.Table("T", "Words.", ("a", "b"), [("1", "2")], [{"a": 1}])
    where = common.machine()
    common.report(False, where, [table], ["- torch"], end="The end.", more=[1])
    text = capsys.readouterr().out
    assert (
        text
        == f"{common.header(where)}\n- torch\n\n## T\n\nWords.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nThe end.\n"
    )
    common.report(True, where, [table], ["- torch"], end="The end.", more=[1])
    found = json.loads(capsys.readouterr().out)
    assert (found["machine"]["accelerator"], found["more"]) == (["- torch"], [1])
    assert common.header(found["machine"]) == common.header(where) + "\n- torch"
    assert common.Table(**found["tables"][0]).markdown() == table.markdown()


def test_processes_take_turns(common: Any) -> None:
    base, own = common.processes(
        {"`a`": common.python("-c", "pass"), "`b`": common.python("-c", "pass")}, turns=2, threads="one"
    )
    assert [len(base.wall), len(own.wall)] == [2, 2]
    assert base.row(base)[3] == "1"
    assert own.row(base)[3] == common.spread(common.ratios(own.wall, base.wall))
    assert own.data("one")["process"] == "b"
