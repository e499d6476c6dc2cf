"""The manual pages, from what click knows: ``python docs/man.py`` writes ``docs/man/snn.1`` and a page a command.

``--check`` writes nothing and ends with 1 where a page is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import commandline

FOLDER = Path(__file__).parent / "man"

EXIT_CODES = (
    (0, "Done, and what was checked holds."),
    (1, "Done, and the check that was asked for does not hold."),
    (2, "Bad usage or bad input."),
    (3, "It cannot be computed: no solution exists, no such device, a missing extra, not enough memory."),
    (130, "Interrupted; what was finished by then has been printed."),
    (141, "The reader closed the pipe."),
)
ENVIRONMENT = (
    ("NO_COLOR", "No colours on a terminal, if set."),
    ("SNN_TRACEBACK", "Where a defect of the program itself occurred, if set."),
)


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    names = commandline.names()
    found = {"snn.1": _overview(names)}
    for name in names:
        found[f"snn-{name}.1"] = _page(name, names)
    return found


def _overview(names: list[str]) -> str:
    command = commandline.command()
    parts = [
        *_head("snn", command.summary),
        ".SH SYNOPSIS",
        r"\fBsnn\fP \fICOMMAND\fP [\fIOPTIONS\fP]",
        *_text(command),
    ]
    parts.append(".SH COMMANDS")
    for name in names:
        parts += [".TP", rf"\fBsnn\-{name}\fP(1)", _escaped(commandline.command(name).summary)]
    return _ended([*parts, *_options(command), *_tail(command, names)])


def _page(name: str, names: list[str]) -> str:
    command = commandline.command(name)
    parts = [*_head(f"snn-{name}", command.summary), ".SH SYNOPSIS", rf"\fBsnn {name}\fP [\fIOPTIONS\fP]"]
    others = [other for other in names if other != name]
    return _ended([*parts, *_text(command), *_options(command), *_tail(command, others, overview=True)])


def _head(title: str, summary: str) -> list[str]:
    shown = summary.rstrip(".")
    return [
        f'.TH "{title.upper()}" "1" "" "snn" "User Commands"',
        ".SH NAME",
        f"{_escaped(title)} \\- {_escaped(shown)}",
    ]


def _text(command: commandline.Command) -> list[str]:
    lines = [".SH DESCRIPTION"]
    for paragraph in command.text or (command.summary,):
        lines += [".PP", _escaped(paragraph)]
    return lines


def _options(command: commandline.Command) -> list[str]:
    lines = [".SH OPTIONS"]
    for option in command.options:
        typed = ", ".join(rf"\fB{_escaped(name)}\fP" for name in option.names)
        lines += [
            ".TP",
            typed + (rf" \fI{_escaped(option.metavar)}\fP" if option.metavar else ""),
            _escaped(option.help),
        ]
    return lines


def _tail(command: commandline.Command, others: list[str], overview: bool = False) -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES:
        lines += [".TP", str(code), _escaped(meaning)]
    lines.append(".SH ENVIRONMENT")
    for name, meaning in ENVIRONMENT:
        lines += [".TP", name, _escaped(meaning)]
    if command.examples:
        lines += [".SH EXAMPLES", ".nf", *(_escaped(example) for example in command.examples), ".fi"]
    see = [*(["snn"] if overview else []), *(f"snn-{name}" for name in others)]
    return [*lines, ".SH SEE ALSO", ", ".join(rf"\fB{_escaped(name)}\fP(1)" for name in see)]


def _escaped(text: str) -> str:
    """Backslashes, hyphens and leading dots mean something to roff."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    return f"\\&{text}" if text.startswith(".") else text


def _ended(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.1")}
    made = pages()
    if arguments == ["--check"]:
        stale = sorted(name for name in {*written, *made} if written.get(name) != made.get(name))
        if stale:
            print(f"{', '.join(stale)}: not as the program is now; python docs/man.py writes them", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in written.keys() - made.keys():
        (FOLDER / name).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
