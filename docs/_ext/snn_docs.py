"""Sphinx directives that take what a page shows from the program itself.

``snn``
    Command lines, run when the documentation is built, with what they print. One that fails fails the build.
``snn-options COMMAND``, ``snn-commands``
    Tables of the options of a command and of the commands, from click.
``snn-record NAME``
    The fields of a record, from its class and its docstring.
``snn-notes``
    The codes of notes, with the sentences that stand for them.
``snn-api MODULE``
    Every public name of a module, through autodoc.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import commandline
import docstrings
import fields
import running
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent.parent


def parsed(text: str) -> list[nodes.Node]:
    """The nodes of reStructuredText, whatever the language of the page."""
    document = publish_doctree(text, settings_overrides={"report_level": 2, "halt_level": 2})
    return [child.deepcopy() for child in document.children]


def table(head: Sequence[str], widths: Sequence[int], rows: Iterable[Sequence[str]]) -> list[nodes.Node]:
    """A table whose cells are reStructuredText of one paragraph."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in (head, *rows):
        for at, cell in enumerate(row):
            lines.append(f"   {'* -' if at == 0 else '  -'} {' '.join(cell.split())}".rstrip())
    return parsed("\n".join(lines))


class Run(SphinxDirective):
    """Run the lines of the body, one after the other, in a folder that the page's commands share.

    ``:exit:`` is the code that the last one is to end with, ``:stderr:`` shows standard error too, ``:in:`` is a folder
    of the repository to run in, ``:figure:`` a file that they write, shown below, ``:alt:`` what is to be seen in it,
    and ``:hide:`` keeps the output back.
    """

    has_content = True
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {
        "exit": directives.nonnegative_int,
        "stderr": directives.flag,
        "in": directives.unchanged_required,
        "figure": directives.unchanged_required,
        "alt": directives.unchanged_required,
        "hide": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        shown: list[str] = []
        commands = running.lines(self.content)
        folder = ROOT / self.options["in"] if "in" in self.options else self._folder()
        for command in commands:
            done = running.shell(command, folder)
            expected = self.options.get("exit", 0) if command is commands[-1] else 0
            if done.code != expected:
                raise ExtensionError(
                    f"{self.env.docname}, line {self.lineno}: {command!r} ended with {done.code}, not {expected}\n"
                    f"{done.out}{done.err}"
                )
            shown.append(f"$ {command}")
            if "hide" not in self.options:
                shown += (done.out + (done.err if "stderr" in self.options else "")).rstrip("\n").splitlines()
        text = "\n".join(shown)
        block = nodes.literal_block(text, text, language="console", force=True)  # what is printed need not be shell
        self.set_source_info(block)
        return [block, *self._figure(folder)]

    def _folder(self) -> Path:
        """One a page, so that a command finds what the one before it has written."""
        folder: Path = self.env.app.snn_folder / self.env.docname.replace("/", "-")
        folder.mkdir(exist_ok=True)
        return folder

    def _figure(self, folder: Path) -> list[nodes.Node]:
        if "figure" not in self.options:
            return []
        name = self.options["figure"]
        made = Path(self.env.srcdir) / "_made"
        made.mkdir(exist_ok=True)
        shutil.copy(folder / name, made / name)
        image = nodes.image(uri=f"/_made/{name}", alt=self.options.get("alt", name))
        self.set_source_info(image)
        return [nodes.figure("", image)]


class Options(SphinxDirective):
    """The options of a command, as ``--help`` has them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        rows = [
            (
                ", ".join(f"``{name}{f' {option.metavar}' if option.metavar else ''}``" for name in option.names),
                docstrings.inline(option.help),
            )
            for option in commandline.command(self.arguments[0]).options
        ]
        return table(("Option", "Meaning"), (35, 65), rows)


class Commands(SphinxDirective):
    """The commands, each with its sentence."""

    def run(self) -> list[nodes.Node]:
        rows = [
            (f"``snn {name}``", docstrings.inline(commandline.command(name).summary)) for name in commandline.names()
        ]
        return table(("Command", "Job"), (25, 75), rows)


class Record(SphinxDirective):
    """What a record is, its fields with their types, and those of its parts."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        waiting = [getattr(import_module("snn_cli.records"), self.arguments[0])]
        seen = set(waiting)
        while waiting:
            record = fields.described(waiting.pop(0))
            if found:
                found.append(nodes.paragraph("", "", nodes.strong("", record.name)))
            found += [*parsed(record.text), *_fields(record)]
            new = [part for part in record.parts if part not in seen]
            seen.update(new)
            waiting = new + waiting
        return found


def _fields(record: fields.Described) -> list[nodes.Node]:
    rows = [
        (docstrings.names(field.names), ", ".join(f"``{kind}``" for kind in field.types), field.text)
        for field in record.fields
    ]
    if any(text for _, _, text in rows):
        return table(("Field", "Type", "Meaning"), (25, 20, 55), rows)
    return table(("Field", "Type"), (45, 55), [row[:2] for row in rows])


class Notes(SphinxDirective):
    """The codes that the field ``notes`` may hold."""

    def run(self) -> list[nodes.Node]:
        rows = [(f"``{note.value}``", docstrings.inline(text)) for note, text in fields.sentences().items()]
        return table(("Code", "Sentence"), (30, 70), rows)


class Api(SphinxDirective):
    """Every public name of a module: functions, modules of torch, records, then what can go wrong. In an rst page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = import_module(self.arguments[0])
        lines: list[str] = []
        for name in sorted(module.__all__, key=lambda name: (_rank(getattr(module, name)), name.lower())):
            kind = "class" if isinstance(getattr(module, name), type) else "function"
            lines += [f".. auto{kind}:: {self.arguments[0]}.{name}"]
            lines += ["   :members:", ""] if kind == "class" else [""]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, source=self.arguments[0]), 0, node)
        return node.children


def _rank(value: Any) -> int:
    if not isinstance(value, type):
        return 0
    return 2 if issubclass(value, Exception) else 1


def _docstring(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = docstrings.rest("\n".join(lines))


def _opened(app: Sphinx) -> None:
    app.snn_folder = Path(tempfile.mkdtemp(prefix="snn-docs-"))  # type: ignore[attr-defined]


def _closed(app: Sphinx, _error: Exception | None) -> None:
    shutil.rmtree(app.snn_folder, ignore_errors=True)  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("snn", Run)
    app.add_directive("snn-options", Options)
    app.add_directive("snn-commands", Commands)
    app.add_directive("snn-record", Record)
    app.add_directive("snn-notes", Notes)
    app.add_directive("snn-api", Api)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("builder-inited", _opened)
    app.connect("build-finished", _closed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
