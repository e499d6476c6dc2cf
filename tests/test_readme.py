"""The README says what the tool prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^```console\n\$ (.+?)\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
BLOCKS = re.findall(r"^```sh\n(.+?)\n```$", README, re.MULTILINE | re.DOTALL)


def shell(command, **kwargs):
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "PATH": path},
        **kwargs,
    )


@pytest.mark.parametrize(("command", "output"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_output_is_real(command, output):
    if "--certify" in command:
        pytest.importorskip("flint")
    found = shell(command).stdout.rstrip("\n")
    if "verify" in command:
        pytest.importorskip("torch")
        # float32 on another processor: the table's words, not its numbers
        assert NUMBER.sub("", found).split()[:20] == NUMBER.sub("", output).split()[:20]
        assert found.splitlines()[-1].split(":")[0] == output.splitlines()[-1].split(":")[0]
        return
    if "simulate" not in command and "analyze" not in command:
        assert found == output
        return
    # arrays of doubles may differ in the last digits from one processor to another
    assert NUMBER.sub("#", found) == NUMBER.sub("#", output)
    pairs = zip(NUMBER.findall(found), NUMBER.findall(output), strict=True)
    assert all(float(a) == pytest.approx(float(b), rel=1e-9, abs=1e-12) for a, b in pairs)


def test_set_up_is_two_commands():
    """First in the page, one command line each; the first ends in the main job, the second in the tests."""
    assert README.index("```sh") < README.index("## ")
    main, test = (re.sub(r"\\\n", "", block) for block in BLOCKS[:2])
    assert "\n" not in main
    assert "\n" not in test
    assert "&& .venv/bin/snn solve --act lselu --epsilon 0.03 " in main
    assert main.endswith("snn solve --act lselu --epsilon 0.03 --json | .venv/bin/snn verify --params -")
    assert test.endswith("python -m pytest")


def test_the_other_shell_blocks_run(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("torch")
    for block in BLOCKS[2:]:
        done = shell(block, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "solutions.svg").exists()


def test_python_block_runs_and_its_comments_hold(tmp_path):
    code = "\n".join(re.findall(r"^```python\n(.+?)\n```$", README, re.MULTILINE | re.DOTALL))
    pytest.importorskip("torch")
    shown = re.findall(r"^(s\.\S+) +# (-?[\d.]+)$", code, re.MULTILINE)
    checks = "".join(f"assert {expression} == {value}\n" for expression, value in shown)
    assert len(shown) == 2
    done = subprocess.run([sys.executable, "-c", f"{code}\n{checks}"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
