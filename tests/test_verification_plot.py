"""Figures of verifications: what is drawn, from which numbers, and that nothing in the records can upset them."""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import math
import os
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from snn_cli.errors import InputError
from snn_cli.records import Estimates, Measured, Params, Verdict, Verification
from snn_cli.reports import verification_plot as plot
from snn_cli.reports.plot import MOST_LABELS
from snn_cli.reports.propagation_plot import drawing

pytest.importorskip("matplotlib")

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}
GRADIENT = "squared norm of the gradient, relative to the last layer"
MOMENT = "second moment of the pre-activations"
SCORE = "distance of the gradient from theory, in standard errors"
NONE = Estimates(None, None, None, None, None, None, None)


def verdict(**changes):
    found = Verdict(
        agrees=True, p_value=0.25, level=0.001, statistic=1.0, worst_layer=0, within_budget=None, max_growth=None,
        components=2, allowance=0.01, trials_to_decide=None,
    )  # fmt: skip
    return found._replace(**changes)


def record(depth=20, **changes):
    """A verification made up: theory goes down by 0.1 a layer, what was measured wavers about it."""
    layers = tuple(range(depth + 1))
    gradient = [0.1 * (depth - i) for i in layers]
    error = [0.02 * math.sqrt(depth - i) for i in layers]
    waver = [math.sin(i) for i in layers]
    profile = Measured(
        layer=layers,
        q=tuple(1 + 0.01 * w for w in waver),
        q_se=(0.01,) * len(layers),
        q_theory=(1.0,) * len(layers),
        log_gradient=tuple(g + w * e for g, w, e in zip(gradient, waver, error, strict=True)),
        log_gradient_se=tuple(error),
        log_gradient_theory=tuple(gradient),
        z=(*waver[:-1], None),
    )
    columns = {name: changes.pop(name) for name in list(changes) if name in Measured._fields}
    made = Verification(
        act="lselu", epsilon=0.03, params=Params({"lambda": 1.0, "alpha": 1.1, "beta": 0.4}), depth=depth, fan_in=64,
        architecture="mlp", weights="gaussian", sigma_w=1.0, sigma_b=0.0, widths=None, q0=1.0, batch=4, trials=8,
        device="cpu", dtype="float32", seed=0, measured=NONE, theory=NONE, verdict=verdict(), broken_layer=None,
        broken_trial=None, notes=(), profile=profile._replace(**columns), seconds=1.0, networks_per_second=8.0,
        peak_memory=1,
    )  # fmt: skip
    return replace(made, **changes)


def alone(depth=20, **changes):
    """A record of one network: no errors, no test."""
    none = (None,) * (depth + 1)
    return record(
        depth, q_se=none, log_gradient_se=none, z=none, trials=1, verdict=verdict(agrees=None, p_value=None), **changes
    )


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def marks(axes):
    """Places and values of the marks of every record, by colour."""
    found = {}
    for container in axes.containers:
        line = container.lines[0]
        if len(line.get_xdata()):
            found[line.get_color()] = ([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()])
    return found


def predicted(axes):
    """Values of the one line of theory."""
    (line,) = [line for line in axes.lines if line.get_linestyle() == "-" and line.get_linewidth() == 1.5]
    return [float(y) for y in line.get_ydata()]


@pytest.mark.parametrize("form", MAGIC)
def test_formats_and_determinism(form, tmp_path):
    import matplotlib

    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form.upper()}"
    records = [record(), record(epsilon=0.01)]
    plot.verifications(records, str(first))
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.facecolor": "red"}):
        plot.verifications(records, str(second))
    assert first.read_bytes().startswith(MAGIC[form])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]


def test_files_are_kept_and_refused(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        plot.verifications([record()], str(path), force=False)
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        plot.verifications([record()], str(tmp_path / "figure.jpg"))
    assert path.read_text() == "mine"
    plot.verifications([record()], str(path), force=True)
    assert path.read_bytes().startswith(MAGIC["svg"])


def test_nothing_to_draw(tmp_path):
    none = (None,) * 21
    empty = record(
        q=none, q_se=none, q_theory=none, log_gradient=none, log_gradient_se=none, log_gradient_theory=none, z=none
    )
    for records in ([], [replace(record(), profile=None)], [empty]):
        with pytest.raises(InputError, match="to draw") as caught:
            plot.verifications(records, str(tmp_path / "figure.svg"))
        assert caught.value.hint.startswith("snn verify")
    assert os.listdir(tmp_path) == []


def test_text_of_the_file(tmp_path):
    path = tmp_path / "figure.svg"
    plot.verifications([record()], str(path))
    root = ElementTree.parse(path).getroot()
    found = ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]
    axes = ("log₁₀ |g[l]|² / |g[L]|²", "q[l]", "z[l]", "layer   (0: the input)")
    key = ("measured, ± one standard error", "theory", "theory ± 2 standard errors")
    for text in (GRADIENT, MOMENT, SCORE, *axes, *key, "lselu, ε = 0.03, N = 64, 8 networks, p = 0.25"):
        assert found.count(text) == 1, text


def test_panels_show_the_profile():
    """Natural logarithms become decimal ones; bars are one standard error, the band is two wide on either side."""
    figure = plot._figure([made := record()])
    assert titles(figure) == [GRADIENT, MOMENT, SCORE]
    gradient, moment, score = figure.axes
    color, profile = drawing.COLORS[0], made.profile
    xs, ys = marks(gradient)[color]
    assert xs == list(range(21))
    assert ys == pytest.approx([y / math.log(10) for y in profile.log_gradient])
    assert marks(moment)[color][1] == pytest.approx(list(profile.q))
    (bars,) = [c.lines[2][0] for c in moment.containers if len(c.lines[0].get_xdata())]
    ends = [float(y) for segment in bars.get_segments() for _, y in segment]
    assert ends == pytest.approx([q + sign * 0.01 for q in profile.q for sign in (-1, 1)])
    edges = [[float(y) for y in line.get_ydata()] for line in moment.lines if line.get_linewidth() == 0.5]
    assert edges == [pytest.approx([0.98] * 21), pytest.approx([1.02] * 21)]
    assert predicted(gradient) == pytest.approx([y / math.log(10) for y in profile.log_gradient_theory])
    (z,) = [line for line in score.lines if len(line.get_xdata()) == 21]
    assert [float(y) for y in z.get_ydata()][:-1] == pytest.approx(list(profile.z[:-1]))
    levels = {float(line.get_ydata()[0]) for line in score.lines if len(line.get_xdata()) == 2}
    assert levels == {-4.0, -2.0, 0.0, 2.0, 4.0}


def test_one_network_and_one_layer(tmp_path):
    for made in (alone(), alone(1), record(1)):
        plot.verifications([made], str(tmp_path / "figure.png"))
    figure = plot._figure([alone(1)])
    assert titles(figure) == [GRADIENT, MOMENT]
    assert legend(figure) == ["lselu, ε = 0.03, N = 64, 1 network", "measured", "theory"]
    assert [list(axes.collections) for axes in figure.axes] == [[], []]  # no bars, no band


def test_labels_say_what_differs():
    def names(*records):
        return plot._names(records)

    other = replace(record(), weights="orthogonal", verdict=verdict(p_value=1e-9, agrees=False))
    assert names(record(), other) == [
        "lselu, gaussian weights, p = 0.25",
        "lselu, orthogonal weights, p < 1e−06, theory rejected",
    ]
    assert names(record(), record(dtype="float64", trials=16)) == [
        "lselu, 8 networks, float32, p = 0.25",
        "lselu, 16 networks, float64, p = 0.25",
    ]
    lost = record(broken_layer=7, broken_trial=1, verdict=verdict(p_value=None, agrees=False))
    assert names(lost) == ["lselu, ε = 0.03, N = 64, 8 networks, not finite at layer 7"]
    widths = record(2, fan_in=None, widths=(784, 64, 10))
    others = record(2, fan_in=None, widths=(64, 64, 10))
    assert names(widths, others) == ["lselu, widths 784,64,10, p = 0.25", "lselu, widths 64x2,10, p = 0.25"]


def test_budget():
    figure = plot._figure([record(verdict=verdict(max_growth=100.0, within_budget=True)), record()])
    assert "allowed: a factor of 100, up or down" in legend(figure)
    axes = figure.axes[0]
    assert {-2.0, 2.0} <= {float(line.get_ydata()[0]) for line in axes.lines if len(line.get_ydata())}
    assert axes.get_ylim()[0] < -2 < 2 < axes.get_ylim()[1]


def test_lines_break_where_there_is_no_value(tmp_path):
    """Of a network that overflows, the layers before are shown; the gradient, of which nothing is finite, says so."""
    none = (None,) * 21
    made = record(
        q=(*[1.0] * 8, *none[8:]), q_se=(*[0.1] * 8, *none[8:]), q_theory=(1.0, None, *[1.0] * 19),
        log_gradient=none, log_gradient_se=none, log_gradient_theory=none, z=none, broken_layer=8,
    )  # fmt: skip
    figure = plot._figure([made])
    gradient, moment = figure.axes
    assert [text.get_text() for text in gradient.texts] == ["not finite"]
    assert marks(moment)[drawing.COLORS[0]][0] == list(range(8))
    assert [math.isnan(y) for y in predicted(moment)] == [False, True, *[False] * 19]
    plot.verifications([made], str(tmp_path / "figure.png"))


def test_theory_or_measurement_may_lack(tmp_path):
    none = (None,) * 21
    for made in (
        record(q_theory=none, log_gradient_theory=none, z=none),
        record(q=none, q_se=none, log_gradient=none, log_gradient_se=none, z=none, trials=0),
    ):
        plot.verifications([made], str(tmp_path / "figure.png"))
        assert len(legend(plot._figure([made]))) == 2


def test_huge_and_tiny_numbers(tmp_path):
    """Second moments over hundreds of decades are decimal logarithms; an error may be as large as the value."""
    grow = tuple(10.0 ** (15 * i) for i in range(21))
    shrink = tuple(1 / q for q in grow)
    records = [record(q=q, q_se=q, q_theory=q) for q in (grow, shrink)]
    figure = plot._figure(records)
    low, high = figure.axes[1].get_ylim()
    assert -350 < low < -300 < 300 < high < 350
    steep = tuple(-1e4 * i for i in range(21))
    records.append(record(log_gradient=steep, z=steep))
    plot.verifications(records, str(tmp_path / "figure.png"))


@pytest.mark.parametrize("count", [1, 2, 6, 7, 40])
@pytest.mark.parametrize("depth", [1, 29, 50, 100_000])
def test_marks_are_thinned_and_take_turns(count, depth):
    column = (1.0,) * (depth + 1)
    places = [plot._places(column, i, count) for i in range(count)]
    for chosen in places:
        assert chosen[0] == 0
        assert chosen[-1] == depth
        assert len(chosen) <= drawing.MOST_MARKERS + 3
    if depth == 100_000:
        inside = [i for chosen in places for i in chosen if 0 < i < depth]
        assert len(inside) == len(set(inside))


def test_deep_networks(tmp_path):
    made = record(20_000)
    figure = plot._figure([made])
    assert len(marks(figure.axes[0])[drawing.COLORS[0]][0]) < 40
    path = tmp_path / "figure.svg"
    plot.verifications([made], str(path))
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("count", [2, plot.MOST_Z, plot.MOST_Z + 1])
def test_many_records(count, tmp_path):
    records = [record(epsilon=0.001 * (k + 1)) for k in range(count)]
    figure = plot._figure(records)
    assert (SCORE in titles(figure)) == (count <= plot.MOST_Z)
    names = [text for text in legend(figure) if text.startswith("lselu")]
    assert len(names) <= MOST_LABELS
    assert f"lselu, ε = {0.001 * count:g}, p = 0.25" in names
    plot.verifications(records, str(tmp_path / "figure.png"))
