"""What is written in Markdown for a reader to type: found, run, and held against what stands below it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


def blocks(text: str, language: str) -> list[str]:
    """The bodies of the blocks fenced as this language."""
    return re.findall(rf"^```{re.escape(language)}\n(.+?)\n```$", text, re.MULTILINE | re.DOTALL)


def consoles(text: str) -> list[tuple[str, str]]:
    """Commands at a prompt, each with what stands below it."""
    return re.findall(r"^```console\n\$ (.+?)\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


def shell(command: str, env: dict[str, str] | None = None, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, ``snn`` being that of this interpreter, or of the environment that is given."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env=env or {**os.environ, "PATH": path},
        check=False,
        **kwargs,
    )


def assert_printed(command: str, output: str, **kwargs: Any) -> None:
    """The command prints what the page says, but for what another processor may do to it."""
    if "--certify" in command:
        pytest.importorskip("flint")
    if "verify" in command:
        pytest.importorskip("torch")
    found = shell(command, **kwargs).stdout.rstrip("\n")
    if "verify" in command:
        # float32 on another processor: the table's words and those of the last line, not its numbers
        assert NUMBER.sub("", found).split()[:20] == NUMBER.sub("", output).split()[:20]
        last, said = (re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", text.splitlines()[-1]) for text in (found, output))
        assert last == said
        return
    if "simulate" not in command and "analyze" not in command:
        assert found == output
        return
    # arrays of doubles may differ in the last digits from one processor to another
    assert NUMBER.sub("#", found) == NUMBER.sub("#", output)
    pairs = zip(NUMBER.findall(found), NUMBER.findall(output), strict=True)
    assert all(float(a) == pytest.approx(float(b), rel=1e-11, abs=1e-14) for a, b in pairs)


def checked(code: str) -> tuple[str, int]:
    """Code in which every ``expression  # value`` has become an assertion, and how many there are."""
    lines, count = [], 0
    for line in code.splitlines():
        expression, _, value = line.partition("  # ")
        if value and _is_expression(expression) and _is_literal(value):
            count += 1
            line = f"assert ({expression}) == {value}, ({expression})"
        lines.append(line)
    return "\n".join(lines), count


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Of all headings of a page."""
    return {
        slug(heading)
        for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    }


def links(text: str) -> list[str]:
    """Targets of links and pictures, but for those that lead elsewhere."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def assert_links(path: Path) -> None:
    """Every link of a page inside the repository leads to a file, and to a heading of it."""
    for target in links(path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), f"{path}: {target}"
        if anchor:
            assert anchor in anchors(other.read_text(encoding="utf-8")), f"{path}: {target}"
