"""The documentation says what the program does: its blocks are run, its tables are whole, its links lead somewhere.

What takes long is run when the documentation is built: the lines of the ``{snn}`` blocks, which here are only parsed.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from textwrap import dedent

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pages import assert_links, assert_printed, blocks, checked, consoles, shell

import snn_cli
import snn_cli.records
from snn_cli.records import Note

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import commandline  # noqa: E402
import docstrings  # noqa: E402
import fields  # noqa: E402
import running  # noqa: E402

PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "_made"} & set(path.relative_to(DOCS).parts)
}
CONSOLES = [(page, *pair) for page, text in PAGES.items() for pair in consoles(text)]
needs_sphinx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
    reason="Sphinx is not installed: pip install -e '.[docs]'",
)


@pytest.mark.parametrize(
    ("page", "command", "output"), CONSOLES, ids=[f"{page}: {command}" for page, command, _ in CONSOLES]
)
def test_output_is_real(page, command, output, warm):  # noqa: ARG001
    assert_printed(command, output, cwd=ROOT, env=warm.environment)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "sh")])
def test_shell_blocks_run(page, tmp_path, warm):
    pytest.importorskip("torch")
    if "train" in page:
        pytest.importorskip("sklearn")
    for block in blocks(PAGES[page], "sh"):
        done = shell(f"set -e\n{block}", cwd=tmp_path, env=warm.environment)
        assert done.returncode == 0, done.stderr


def test_python_blocks_run_and_their_comments_hold(tmp_path, warm):
    """All pages in one process: each is a module of its own."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    counts = {}
    for page, text in PAGES.items():
        if found := blocks(text, "python"):
            code, counts[page] = checked("\n".join(found))
            (tmp_path / f"{page.replace('/', '_')}.py").write_text(code)
    assert counts.keys() == {
        "python.md",
        "howto/activation.md",
        "howto/ci.md",
        "howto/model.md",
        "howto/normalization.md",
    }
    assert sum(counts.values()) == 11
    run_all = "import pathlib, runpy; [runpy.run_path(str(path)) for path in sorted(pathlib.Path().glob('*.py'))]"
    done = subprocess.run([warm.python, "-c", run_all], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def typed() -> list[tuple[str, list[str]]]:
    """Every call of ``snn`` in a block that is not run here, with its page."""
    found = []
    for page, text in PAGES.items():
        bodies = [body for name in ("{snn}", "shell") for body in blocks(text, name)]
        lines = [line for body in bodies for line in running.lines(body.splitlines()) if not line.startswith(":")]
        lines += re.findall(r"- run: (.+)", "\n".join(blocks(text, "yaml")))
        for line in lines:
            words = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>")
            words.whitespace_split = True
            calls = [[]]
            for word in words:
                if set(word) <= set("|&;<>"):
                    calls.append([])
                else:
                    calls[-1].append(word)
            for call in calls:
                at = next((at for at, word in enumerate(call) if word in ("snn", "snn_cli")), None)
                if at is not None:
                    found.append((page, call[at + 1 :]))
    return found


def test_commands_that_are_run_when_the_documentation_is_built_can_be_parsed():
    calls = typed()
    assert len(calls) > 25
    for page, (name, *arguments) in calls:
        arguments = [word for word in arguments if word != "..."]
        command = commandline.cli.get_command(None, name)
        assert command is not None, f"{page}: {name}"
        command.make_context(name, list(arguments))


@pytest.mark.parametrize("page", [*PAGES, "../CHANGELOG.md"])
def test_links_lead_somewhere(page):
    assert_links(DOCS / page)


@pytest.mark.parametrize("name", commandline.names())
def test_every_command_has_a_page_with_all_its_options(name, call):
    page = PAGES[f"commands/{name}.md"]
    assert f"```{{snn-options}} {name}\n" in page
    assert "## Exit codes" in page
    assert blocks(page, "{snn}")
    shown = set(
        re.findall(
            r"(?<![\w-])--?[a-z][\w-]*", re.sub(r"\n {10,}.*", "", call(name, "--help").out.split("Options:")[1])
        )
    )
    command = commandline.command(name)
    table = {option for each in command.options for option in each.names}
    assert shown <= table
    assert {"--help", "-h"} <= table
    assert all(option.help for option in command.options)
    assert len(command.examples) >= 2
    assert command.summary in " ".join(call(name, "--help").out.split())


RECORDS = [name for name in snn_cli.records.__all__ if hasattr(getattr(snn_cli.records, name), "__dataclass_fields__")]


@pytest.mark.parametrize("name", RECORDS)
def test_tables_of_records_have_every_field_once(name):
    waiting, seen = [getattr(snn_cli.records, name)], set()
    while waiting:
        record = waiting.pop()
        if record in seen:
            continue
        seen.add(record)
        described = fields.described(record)
        told = [each for field in described.fields for each in field.names]
        own = getattr(record, "__dataclass_fields__", None) or record._fields
        assert sorted(told) == sorted(own)
        assert all(field.types for field in described.fields)
        waiting += described.parts
    assert (name in {"Export"}) == (len(seen) == 1 and name != "Solution")


def test_every_record_is_on_a_page():
    shown = set(re.findall(r"\{snn-record\} (\w+)", "\n".join(PAGES.values())))
    assert set(RECORDS) - shown == {"Conversion"}  # in the reference of snn_cli.nn


def test_every_note_has_a_sentence():
    assert set(fields.sentences()) == set(Note)


def test_a_docstring_is_read():
    text = dedent(
        """\
        The *first* of |x|^2, ``a_`` of `b` and c_.

        name, other
            What `name` is, for
            ``x * y``.
        third
            More.

        Then:

            q = V(q)

        and the end.
        """
    )
    assert [block.kind for block in docstrings.read(text)] == ["text", "item", "item", "text", "code", "text"]
    lines = docstrings.rest(text)
    assert lines[0] == "The *first* of \\|x\\|^2, ``a_`` of ``b`` and c\\_."
    assert lines[2:5] == ["``name``, ``other``", "    What ``name`` is, for", "    ``x * y``."]
    assert "    q = V(q)" in lines


def warnings_of(text: str) -> list[str]:
    docutils_core = pytest.importorskip("docutils.core")
    document = docutils_core.publish_doctree(text, settings_overrides={"report_level": 5})
    return [str(node) for node in document.findall(lambda node: node.tagname == "system_message")]


@given(st.text("ab_*`|\\ .:<>[]()^-\n", max_size=60))
def test_no_docstring_is_markup_by_accident(text):
    assert warnings_of(f"x {docstrings.inline(text.replace(chr(10), ' '))} x") == []


def test_docstrings_of_public_names_are_sound():
    for name in snn_cli.__all__:
        docstring = inspect.getdoc(getattr(snn_cli, name))
        assert docstring, name
        assert warnings_of("\n".join(docstrings.rest(docstring))) == [], name


def public():
    """What computes something in the reference: the functions, and the classes of ``snn_cli.nn``; no record."""
    pytest.importorskip("torch")
    import snn_cli.nn

    for room in (snn_cli, snn_cli.nn):
        for name in room.__all__:
            found = getattr(room, name)
            if inspect.isfunction(found) or (inspect.isclass(found) and found.__module__.startswith("snn_cli.nn.")):
                yield room, name, inspect.getdoc(found)


def test_public_functions_say_their_source_and_what_they_raise():
    """In words of their own, or as another one that does; and what they name is there."""
    sections = {int(number) for number in re.findall(r"^## (\d+)\.", PAGES["theory.md"], re.MULTILINE)}
    told = list(public())
    assert len(told) > 20
    for room, name, docstring in told:
        text = " ".join(docstring.split())
        deferred = [other.strip("`") for other in re.findall(r"(?:source and errors|errors) as for (`+\w+`+)", text)]
        assert re.search(r"\bRaises? [A-Za-z]", text) or deferred, f"{name}: errors"
        assert "Source: " in text or re.search(r"source and errors as for `", text), f"{name}: source"
        for other in deferred:
            assert "Raises " in inspect.getdoc(getattr(room, other)) or other == "centralize", f"{name}: {other}"
        errors = set(re.findall(r"\b[A-Z]\w+Error\b|\bNoSolution\b|\bCannotCompute\b|\bMissingExtra\b", text))
        assert errors <= {*snn_cli.__all__, "AssertionError"}, name
        assert errors or deferred or "Raises as ``simulate``" in text, name
        for first, joint, last in re.findall(r"sections? (\d+)(?:(?:, \d+)* (and|to) (\d+))?", text):
            assert {int(first), int(last or first)} <= sections, f"{name}: section {first} {joint} {last}"


def man():
    spec = importlib.util.spec_from_file_location("man", DOCS / "man.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manual_pages_are_those_of_this_program(capsys):
    assert man().main(["--check"]) == 0, capsys.readouterr().err


def test_stale_manual_pages_are_found_and_written(tmp_path, monkeypatch, capsys):
    module = man()
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    (tmp_path / "snn-gone.1").write_text("")
    assert module.main(["--check"]) == 1
    assert "snn-gone.1" in capsys.readouterr().err
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"snn.1", *(f"snn-{name}.1" for name in commandline.names())}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_manual_pages_are_sound():
    for path in sorted((DOCS / "man").glob("*.1")):
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", str(path)], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stderr == ""
        assert "EXIT STATUS" in re.sub(r"\x1b\[\d*m|.\x08", "", done.stdout)


def build(folder, text):
    """A documentation of one page, built with this one's configuration."""
    (folder / "index.md").write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "text", "-c", str(DOCS), "-D", "html_static_path="]
    done = subprocess.run([*command, str(folder), str(folder / "out")], capture_output=True, text=True)
    out = folder / "out" / "index.txt"
    return done.returncode, done.stderr, out.read_text() if out.exists() else ""


@needs_sphinx
def test_a_build_shows_what_commands_print(tmp_path, call):
    code, error, shown = build(
        tmp_path,
        "# Page\n\n```{snn}\nsnn solve --act lselu --epsilon 0.03 --json > a.json\ncat a.json | \\\n  wc -l\n```\n"
        "\n```{snn}\n:exit: 2\n:stderr:\nsnn solve --act nothing\n```\n\n```{snn-options} export\n```\n"
        "\n```{snn-record} Export\n```\n",
    )
    assert code == 0, error
    assert "$ cat a.json | \\\n     wc -l\n   1\n" in shown
    assert call("solve", "--act", "nothing").err.splitlines()[0] in shown
    assert '"--to NAME"' in shown
    assert '"suffix"' in shown


@needs_sphinx
@pytest.mark.parametrize(
    "body",
    ["snn solve --act lselu --epsilon 2", ":exit: 2\nsnn solve --act lselu --epsilon 0.03", "snn nothing | cat"],
)
def test_a_command_that_ends_otherwise_fails_the_build(tmp_path, body):
    code, error, _ = build(tmp_path, f"# Page\n\n```{{snn}}\n{body}\n```\n")
    assert code != 0
    assert "ended with" in error


def test_workflow_is_yaml():
    yaml = pytest.importorskip("yaml")
    (text,) = blocks(PAGES["howto/ci.md"], "yaml")
    steps = yaml.safe_load(text)["jobs"]["gradients"]["steps"]
    assert [step["run"].split()[0] for step in steps if "run" in step] == ["pip", "snn", "snn"]


def test_record_written_by_hand_is_read(call, tmp_path):
    (record,) = re.findall(r"`(\{\"act\".+?\}\})`", PAGES["commands/index.md"])
    (tmp_path / "act.json").write_text(record)
    done = call("simulate", "--params", str(tmp_path / "act.json"), "--depth", "3", "--json")
    assert done.records[0]["params"] == json.loads(record)["params"]
