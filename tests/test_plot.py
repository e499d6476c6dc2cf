"""Figures: what is in them, where they may be written, and that they are always the same."""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snn_cli import CannotCompute, InputError, MissingExtra, NoSolution, solve
from snn_cli.records import Params
from snn_cli.reports import plot

pytest.importorskip("matplotlib")

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}
EPSILONS = (0.001, 0.01, 0.05, 0.1, 0.5)


def sweep(*acts, epsilons=EPSILONS, **options):
    found = []
    for act in acts:
        for epsilon in epsilons:
            try:
                found.append(solve(act, epsilon, **options))
            except NoSolution:
                assert act == "dselu"
    return found


def made(epsilon, lam=1.0):
    """A record that solves nothing: figures need no more than records."""
    params = Params({"lambda": lam, "alpha": epsilon, "beta": epsilon - lam})
    return replace(BASE, closure="lambda", epsilon=epsilon, params=params, gamma=epsilon / 9)


BASE = solve("lselu", 0.03)


@pytest.fixture(scope="module")
def swept():
    return sweep("lselu", "sselu")


def texts(solutions):
    """Titles, labels and legend of the figure, as yet undrawn."""
    from matplotlib.text import Text

    figure = plot._figure(solutions)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def svg_texts(path):
    root = ElementTree.parse(path).getroot()
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("form", MAGIC)
def test_formats_and_determinism(form, tmp_path):
    """The suffix decides, in either case; the same solutions make the same bytes, whatever the user's settings are."""
    import matplotlib

    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form.upper()}"
    plot.solutions([BASE], str(first))
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        plot.solutions([BASE], str(second))
        assert dict(matplotlib.rcParams) == before
    assert first.read_bytes().startswith(MAGIC[form])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]
    assert logging.getLogger("matplotlib").level == logging.NOTSET


def test_sweep_of_epsilon(swept, tmp_path):
    path = tmp_path / "figure.svg"
    plot.solutions(swept, str(path))
    found = svg_texts(path)
    assert found.count("ε   backward gain minus one") == 2  # below the two lower panels
    panels = ("γ   strength: smaller is stronger", "E[f]   mean", "α   weight of the exponential")
    for label in (*panels, "β   slope of the line in lselu, rate in sselu", "lselu", "sselu"):
        assert found.count(label) == 1, label
    assert "λ   slope for x > 0" not in found
    assert "first point where f is not monotone" in found  # lselu beyond 0.0799
    assert "first point where γ ≥ 1" not in found


def test_limits_are_marked():
    """A marker says no more than its point does: in a coarse sweep the limit itself is far from it."""
    assert not any("limit" in text for text in texts(sweep("lselu", epsilons=(0.03, 0.1))))
    assert "first point where f is not monotone" not in texts(sweep("sselu"))
    assert "first point where γ ≥ 1" in texts(sweep("lselu", epsilons=(0.5, 1.4, 1.425)))
    assert plot._limits([True, True, False, False, True]) == [2, 3]
    found = texts(sweep("lselu", epsilons=(1.42, 1.425)))
    assert "lselu, not monotone, γ ≥ 1" in found


def test_families_without_a_free_parameter():
    found = texts(sweep("lselu", "dselu", "selu"))
    assert "λ   slope for x > 0" in found  # it varies along dselu
    assert {"lselu", "dselu", "selu"} <= set(found)
    found = texts(sweep("dselu"))
    assert not any(text.startswith("β") for text in found)


CASES = [
    # what varies -> the abscissa, and the panels and labels that come with it
    (lambda: [solve("lselu", 0.03, lam=x) for x in (0.5, 0.8, 1)], "λ   slope for x > 0", ["lselu"]),
    (
        lambda: [solve("lselu", e, lam=x) for e in (0.01, 0.03) for x in (0.5, 0.8, 1)],
        "λ   slope for x > 0",
        ["lselu, ε = 0.01", "lselu, ε = 0.03"],
    ),
    (
        lambda: [solve("lselu", e, lambda_min=x) for e in EPSILONS for x in (0.5, 1)],
        "ε   backward gain minus one",
        ["lselu, λ ≥ 0.5", "lselu, λ ≥ 1"],
    ),
    (
        lambda: [solve(a, depth=n) for a in ("lselu", "selu") for n in (10, 20, 400)],
        "L   depth in layers",
        ["lselu", "selu", "ε   backward gain minus one", "λ   slope for x > 0"],
    ),
    (
        lambda: [solve("lselu", "auto", fanin=n) for n in (64, 256)],
        "N   fan-in",
        ["lselu", "ε   backward gain minus one"],
    ),
    (lambda: [solve("sselu", 0.03, fanin=n) for n in (64, 256)], "N   fan-in", ["sselu"]),
    (
        lambda: [solve("lselu", e, depth=n) for e in (0.01, 0.03) for n in (10, 100)],
        "ε   backward gain minus one",
        ["lselu"],
    ),
    (lambda: sweep("lselu", zero_mean=True), "ε   backward gain minus one", ["lselu", "λ   slope for x > 0"]),
]


@pytest.mark.parametrize(("make", "abscissa", "labels"), CASES)
def test_what_varies_is_the_abscissa(make, abscissa, labels):
    found = texts(make())
    assert found.count(abscissa) == 2
    assert set(labels) <= set(found)


def test_one_solution(tmp_path):
    path = tmp_path / "figure.svg"
    plot.solutions([solve("lselu", 0.03)], str(path))
    found = svg_texts(path)
    label = "lselu:  ε = 0.03,  λ = 1,  α = 1.1382,  β = 0.39399,  γ = 0.8473,  E[f] = −0.029611"
    for text in (label, "identity", "f(x)   activation", "f′(x)   its derivative"):
        assert found.count(text) == 1, text


def test_activations_at_one_point():
    """Each once; SELU, whose epsilon is its own, belongs with them."""
    found = texts([solve(act, 0.03) for act in ("lselu", "sselu", "dselu", "selu", "lselu")])
    assert [text.split(":")[0] for text in found if ":  ε" in text] == ["lselu", "sselu", "dselu", "selu"]


def test_kink_is_a_jump():
    """f' has two ends at 0, an open and a full dot, and no line between them; f is continuous."""
    solution = solve("selu")
    left, right = plot._curves([solution]).axes
    lam, alpha = solution.params["lambda"], solution.params["alpha"]
    curves = [line for line in right.lines if len(line.get_xdata()) > 1][1:]
    assert [float(max(line.get_xdata())) <= 0 for line in curves] == [True, False]
    assert curves[0].get_ydata()[-1] == pytest.approx(lam * alpha, rel=1e-15)
    dots = [line for line in right.lines if len(line.get_xdata()) == 1]
    assert [(float(d.get_ydata()[0]), d.get_markerfacecolor() == "white") for d in dots] == [
        (pytest.approx(lam * alpha), True),
        (lam, False),
    ]
    (f,) = [line for line in left.lines if line.get_label() != "identity"]
    assert (f.get_xdata()[0], f.get_xdata()[-1]) == (-plot.REACH, plot.REACH)
    assert 0.0 in f.get_xdata()


@pytest.mark.parametrize(
    "solutions",
    [
        lambda: [solve("sselu", 1e4)],
        lambda: sweep("lselu", "sselu", epsilons=(1e-6, 1e-2, 1.4)) + sweep("sselu", epsilons=(1e4,)),
        lambda: [made(epsilon=e / 100, lam=1 + k / 20) for e in range(20) for k in range(16)],
        lambda: [made(epsilon=0.0), made(epsilon=9.0)],
    ],
    ids=["spike", "both signs", "many", "from zero"],
)
def test_extremes_draw_without_warning(solutions, tmp_path):
    plot.solutions(solutions(), str(tmp_path / "figure.png"))


@pytest.mark.parametrize("epsilons", [["1e20", "1e25", "1e30"], ["1e21"], ["1e100"], ["1e-90", "1", "1e90"]])
def test_beyond_the_integers_of_the_machine(epsilons, tmp_path):
    plot.solutions([solve("sselu", epsilon) for epsilon in epsilons], str(tmp_path / "figure.png"))


@pytest.mark.parametrize(
    "solutions",
    [
        lambda: sweep("lselu", epsilons=(0.01, 0.015, 0.02, 0.025, 0.03)),
        lambda: sweep("lselu", epsilons=(0.010001, 0.010002, 0.010003)),
        lambda: [solve("sselu", 0.03, fanin=n) for n in (100, 500)],
    ],
    ids=["0.005", "narrow", "fan-in"],
)
def test_labels_of_the_abscissa_stand_apart(solutions):
    from matplotlib import style

    with style.context(["default", plot._STYLE]):
        figure = plot._figure(solutions())
        figure.draw_without_rendering()
        axis = figure.axes[-1].xaxis
        boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    assert len(boxes) >= 3
    assert all(a.x1 + 3 < b.x0 for a, b in itertools.pairwise(boxes))
    assert axis.get_offset_text().get_text() == ""


@pytest.mark.parametrize("name", ["figure", "figure.jpg", "figure.svg.gz", ".svg", "", "svg"])
def test_other_suffixes_are_refused(name, tmp_path):
    path = str(tmp_path / name) if name else ""
    for attempt in (lambda: plot.check(path, True), lambda: plot.solutions([BASE], path)):
        with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf") as caught:
            attempt()
        assert caught.value.hint.endswith(".svg")


def test_check_leaves_nothing_behind(tmp_path):
    for form in MAGIC:
        plot.check(str(tmp_path / f"figure.{form}"), False)
    assert os.listdir(tmp_path) == []


def test_existing_files_need_force(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"figure\.svg exists") as caught:
        plot.check(str(path), False)
    assert caught.value.hint == "--force"
    plot.check(str(path), True)
    with pytest.raises(InputError, match="exists"):  # it appeared while the solver ran
        plot.solutions([BASE], str(path), force=False)
    assert path.read_text() == "mine"
    plot.solutions([BASE], str(path))
    assert path.read_bytes().startswith(MAGIC["svg"])
    assert os.listdir(tmp_path) == ["figure.svg"]
    fresh = tmp_path / "fresh.svg"
    plot.solutions([BASE], str(fresh), force=False)
    assert fresh.read_bytes() == path.read_bytes()


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.svg", tmp_path / "link.svg"
    link.symlink_to(target)
    plot.check(str(link), False)
    plot.solutions([BASE], str(link))
    assert link.is_symlink()
    assert target.read_bytes().startswith(MAGIC["svg"])


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").write_text("")
    cases = ["missing/figure.svg", "file/figure.svg", "folder.svg", "x" * 300 + ".svg"]
    for name in cases:
        with pytest.raises(InputError) as caught:
            plot.check(str(tmp_path / name), True)
        assert name in str(caught.value)
        assert caught.value.exit_code == 2
        assert caught.value.hint
    with pytest.raises(InputError, match=r"missing/figure\.svg cannot be written"):
        plot.solutions([BASE], str(tmp_path / "missing/figure.svg"))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # as root, no folder is protected
    with pytest.raises(InputError, match=r"figure\.svg cannot be written: Permission denied"):
        plot.check(str(tmp_path / "figure.svg"), False)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_run_leaves_no_half_file(error, tmp_path, monkeypatch):
    import matplotlib.figure

    def half(_self, stream, **_kwargs):
        stream.write(b"half")
        raise error

    path = tmp_path / "figure.svg"
    path.write_text("mine")
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", half)
    with pytest.raises((CannotCompute, KeyboardInterrupt)):
        plot.solutions([BASE], str(path))
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["figure.svg"]


def test_matplotlib_missing(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match="--plot needs matplotlib") as caught:
        plot.check(str(tmp_path / "figure.svg"), False)
    assert caught.value.exit_code == 3
    assert caught.value.hint == "pip install 'snn-cli[plot]'"


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_no_home_no_display_no_pyplot(home, tmp_path):
    """Nothing on standard error, though matplotlib has nowhere to keep its cache; pyplot and its state stay out."""
    code = """
import sys
from snn_cli import solve
from snn_cli.reports import plot
plot.check("figure.svg", False)
plot.solutions([solve("selu")], "figure.svg")
assert "matplotlib.pyplot" not in sys.modules
"""
    unset = ("HOME", "DISPLAY", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLBACKEND")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(plot.__file__).parents[2])}
    if home:
        env["HOME"] = home
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [name for name in os.listdir(tmp_path) if "figure" in name] == ["figure.svg"]


def test_a_backend_that_does_not_exist(tmp_path):
    code = "from snn_cli.cli.main import main; raise SystemExit(main())"
    env = {**os.environ, "MPLBACKEND": "nonsense", "PYTHONPATH": str(Path(plot.__file__).parents[2])}
    command = [sys.executable, "-c", code, "solve", "--act", "selu", "--plot", str(tmp_path / "figure.svg")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert done.stderr.startswith("error: matplotlib does not start: ")
    assert "hint: " in done.stderr


def test_command_line(call, tmp_path):
    path = str(tmp_path / "figure.svg")
    request = ("solve", "--act", "lselu", "--epsilon", "0.01,0.03", "--plot", path)
    done = call(*request, "--json")
    assert (done.code, len(done.records), done.err) == (0, 2, "")
    assert Path(path).read_bytes().startswith(MAGIC["svg"])
    again = call(*request)
    assert (again.code, again.out) == (2, "")
    assert "hint: --force" in again.err
    assert call(*request, "--force").code == 0
