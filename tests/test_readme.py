"""The README says what the tool prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from pages import NUMBER, assert_links, assert_printed, blocks, checked, consoles, shell

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
COMMANDS = consoles(README)
BLOCKS = blocks(README, "sh")


@pytest.mark.parametrize(("command", "output"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_output_is_real(command, output):
    assert_printed(command, output, cwd=ROOT)


def test_links_lead_somewhere():
    assert_links(PAGE)


def test_set_up_is_two_commands():
    """First in the page, one command line each; the first ends in the main job, the second in the tests."""
    assert README.index("```sh") < README.index("## ")
    main, test = (re.sub(r"\\\n", "", block) for block in BLOCKS[:2])
    assert "\n" not in main
    assert "\n" not in test
    assert "&& .venv/bin/snn solve --act lselu --epsilon 0.03 " in main
    assert main.endswith("snn solve --act lselu --epsilon 0.03 --json | .venv/bin/snn verify --params -")
    assert test.endswith("python -m pytest")


def test_the_other_shell_blocks_run_and_the_figure_is_what_they_draw(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("torch")
    for block in BLOCKS[2:]:
        done = shell(f"set -e\n{block}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    (name,) = re.findall(r"!\[[^]]+\]\((docs/_static/\S+\.svg)\)", README)
    shown, drawn = (path.read_text(encoding="utf-8") for path in (ROOT / name, tmp_path / Path(name).name))
    assert re.findall(r"<text.*?</text>", drawn) == re.findall(r"<text.*?</text>", shown)
    made_by = re.compile(r"Matplotlib v[\d.]+")
    if made_by.findall(drawn) == made_by.findall(shown):
        assert NUMBER.sub("#", drawn) == NUMBER.sub("#", shown)
        pairs = zip(NUMBER.findall(drawn), NUMBER.findall(shown), strict=True)
        assert all(float(a) == pytest.approx(float(b), rel=1e-3, abs=1e-2) for a, b in pairs)


def test_python_block_runs_and_its_comments_hold(tmp_path, warm):
    pytest.importorskip("torch")
    code, count = checked("\n".join(blocks(README, "python")))
    assert count == 2
    done = subprocess.run([warm.python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
