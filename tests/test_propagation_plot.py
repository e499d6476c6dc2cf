"""Figures of propagations: what is drawn, from which numbers, and that nothing in the records can upset them."""

# ruff: noqa: RUF001 - the symbols of the theory are Greek

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snn_cli.errors import InputError
from snn_cli.records import Budget, Gradient, Params
from snn_cli.reports import propagation_plot as plot
from snn_cli.reports.plot import MOST_LABELS
from snn_cli.reports.propagation_plot import drawing, profiles, settings, weight_mean
from snn_cli.simulation import simulate

pytest.importorskip("matplotlib")

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}
BAND = "± one deviation over networks"
GRADIENT = "squared norm of the gradient, relative to the last layer"


@pytest.fixture(scope="module")
def lselu():
    return simulate("lselu", "0.03", depth=20, fanin=64)


@pytest.fixture(scope="module")
def relu():
    return simulate("relu", sigma_w="he", depth=20, fanin=64)


def made(record, **changes):
    """The record with other fields; ``growth``, ``sd``, ``tolerance`` and columns of the profile are set inside it."""
    if {"growth", "sd"} & set(changes):
        changes["gradient"] = Gradient(changes.pop("growth", None), changes.pop("sd", None), None)
    if "tolerance" in changes:
        changes["mean_path"] = record.mean_path._replace(weight_mean_tolerance=changes.pop("tolerance"))
    columns = {name: changes.pop(name) for name in list(changes) if name in ("q", "q_mean", "q_sd", "log_gradient")}
    columns |= {name: changes.pop(name) for name in list(changes) if name in ("log_gradient_sd", "correlation")}
    if columns:
        changes["profile"] = record.profile._replace(**columns)
    return replace(record, **changes)


def point(record, **changes):
    """A point of a sweep."""
    return made(record, profile=None, **{"growth": 1.0, **changes})


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def lines(axes, color, *, width=None):
    """The data of the lines of that colour."""
    found = [line for line in axes.lines if line.get_color() == color and len(line.get_xdata()) > 1]
    return [line for line in found if width is None or line.get_linewidth() == width]


def data(line):
    return [float(y) for y in line.get_ydata()]


@pytest.mark.parametrize("draw", [plot.propagations, plot.tolerance])
@pytest.mark.parametrize("form", MAGIC)
def test_formats_and_determinism(draw, form, lselu, relu, tmp_path):
    import matplotlib

    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form.upper()}"
    draw([lselu, relu], str(first))
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.facecolor": "red"}):
        draw([lselu, relu], str(second))
    assert first.read_bytes().startswith(MAGIC[form])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]


def test_files_are_kept_and_refused(lselu, tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("mine")
    for draw in (plot.propagations, plot.tolerance):
        with pytest.raises(InputError, match="exists"):
            draw([lselu], str(path), force=False)
        with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
            draw([lselu], str(tmp_path / "figure.jpg"))
    assert path.read_text() == "mine"
    plot.propagations([lselu], str(path), force=True)
    assert path.read_bytes().startswith(MAGIC["svg"])


def test_nothing_to_draw(lselu, tmp_path):
    none = (None,) * 21
    empty = made(lselu, q=none, q_mean=none, q_sd=none, log_gradient=none, log_gradient_sd=none)
    wide = made(lselu, fan_in=None, tolerance=None)
    cases = [
        (plot.propagations, []),
        (plot.propagations, [empty]),
        (plot.propagations, [point(lselu, growth=None)]),
        (plot.tolerance, []),
        (plot.tolerance, [wide]),
        (plot.tolerance, [made(lselu, tolerance=None)]),
    ]
    for draw, records in cases:
        with pytest.raises(InputError, match="to draw") as caught:
            draw(records, str(tmp_path / "figure.svg"))
        assert caught.value.hint.startswith("snn simulate")
    assert os.listdir(tmp_path) == []


def test_text_of_the_file(lselu, relu, tmp_path):
    path = tmp_path / "figure.svg"
    plot.propagations([lselu, relu], str(path))
    root = ElementTree.parse(path).getroot()
    found = ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]
    panels = (GRADIENT, "second moment of the pre-activations", "correlation of two inputs, at infinite width")
    axes = ("log₁₀ |g[l]|² / |g[L]|²", "q[l]", "c[l]", "layer   (0: the input)")
    for text in (*panels, *axes, "lselu, ε = 0.03", BAND, "q at infinite width"):
        assert found.count(text) == 1, text


def test_layers_show_the_profile(lselu):
    """Natural logarithms become decimal ones; the band is one deviation wide; infinite width is thin."""
    figure = plot._figure([lselu])
    gradient, moment, correlation = figure.axes
    color, profile = drawing.COLORS[0], lselu.profile
    (line,) = lines(gradient, color, width=1.5)
    assert data(line) == pytest.approx([x / math.log(10) for x in profile.log_gradient])
    low, high = lines(gradient, color, width=0.5)
    sd = profile.log_gradient_sd[0] / math.log(10)
    assert data(high)[0] - data(line)[0] == pytest.approx(sd)
    assert data(line)[0] - data(low)[0] == pytest.approx(sd)
    assert data(lines(moment, color, width=1.5)[0]) == list(profile.q_mean)
    assert data(lines(moment, color, width=0.8)[0]) == list(profile.q)
    assert data(lines(correlation, color)[0]) == list(profile.correlation)
    assert [axes.get_xlim() == gradient.get_xlim() for axes in (moment, correlation)] == [True, True]


def test_infinite_width_has_no_band():
    figure = plot._figure([simulate("tanh", depth=5)])
    assert legend(figure) == ["tanh, infinite width"]
    gradient, moment, _ = figure.axes
    assert len(gradient.lines) == len(moment.lines) == 1


def test_labels_say_what_differs(lselu, relu):
    def labels(*records):
        return settings.labels(records)

    assert labels(lselu) == ["lselu, ε = 0.03, N = 64"]
    other = made(lselu, epsilon=0.005)
    assert labels(lselu, other) == ["lselu, ε = 0.03", "lselu, ε = 0.005"]
    assert labels(lselu, relu)[1].startswith("relu, $")
    assert labels(lselu, made(lselu, fan_in=256)) == ["lselu, N = 64", "lselu, N = 256"]
    assert labels(lselu, made(lselu, fan_in=None)) == ["lselu, N = 64", "lselu, infinite width"]
    assert labels(lselu, made(lselu, weights="orthogonal"))[1] == "lselu, orthogonal weights"
    assert labels(lselu, made(lselu, centralize=True)) == ["lselu", "lselu, centralized weights"]
    assert labels(lselu, made(lselu, centralize_activation=True))[1] == "lselu, centralized activation"
    assert labels(lselu, made(lselu, mixup=0.2, q0=0.9, c0=0.6))[1] == "lselu, mixup 0.2"  # q0 and c0 follow
    assert labels(lselu, made(lselu, weight_mean=-0.1))[1] == "lselu, weight mean −0.1"
    assert labels(lselu, made(lselu, depth=40)) == ["lselu, L = 20", "lselu, L = 40"]
    assert labels(lselu, made(lselu, epsilon=0.01, depth=100)) == ["lselu, ε = 0.03", "lselu, ε = 0.01"]
    assert labels(lselu, made(lselu, q0=1e6)) == ["lselu, q₀ = 1", "lselu, q₀ = 1000000"]
    odd = made(lselu, params=Params({**lselu.params, "alpha": 2.0}))
    assert labels(lselu, odd)[1] == "lselu, α = 2"
    widths = made(lselu, fan_in=None, widths=(784, 64, 64, 10))
    assert labels(widths, made(widths, widths=tuple(range(10, 50)))) == [
        "lselu, widths 784,64x2,10",
        "lselu, 40 widths from 10 to 49",
    ]


def test_corridor(lselu):
    figure = plot._figure([made(lselu, budget=Budget(100.0, True, None, None)), lselu])
    assert "allowed: a factor of 100, up or down" in legend(figure)
    axes = figure.axes[0]
    assert {-2.0, 2.0} <= {float(line.get_ydata()[0]) for line in axes.lines}
    low, high = axes.get_ylim()
    assert low < -2
    assert high > 2


def test_lines_break_where_there_is_no_value(lselu):
    q = (1.0, None, 2.0, *[3.0] * 10, *[None] * 8)
    figure = plot._figure([made(lselu, q=q, q_mean=None, q_sd=None, log_gradient=(None,) * 21, correlation=None)])
    gradient, moment = figure.axes
    assert [text.get_text() for text in gradient.texts] == ["not finite"]
    line, dot = moment.lines
    assert [math.isnan(y) for y in data(line)] == [x is None for x in q]
    assert [float(x) for x in dot.get_xdata()] == [0.0]


def test_huge_and_tiny_numbers(tmp_path):
    records = [simulate("relu", sigma_w=s, depth=400, fanin=64, profile=True) for s in ("20", "0.1")]
    records.append(simulate("lselu", "0.03", depth=400, fanin=64))
    figure = plot._figure(records)
    assert data(lines(figure.axes[0], drawing.COLORS[0], width=1.5)[0])[0] > 900
    low, high = figure.axes[1].get_ylim()
    assert -370 < low < -300
    assert 300 < high < 370
    plot.propagations(records, str(tmp_path / "figure.png"))


def test_bands_end_at_zero(relu):
    """Second moments are not negative: a band wider than the mean ends at the axis, and has no lower edge there."""
    figure = plot._figure([made(relu, q_sd=(0.5,) * 10 + (2.0,) * 11)])
    axes = figure.axes[1]
    assert axes.get_ylim()[0] == 0
    low, _ = lines(axes, drawing.COLORS[0], width=0.5)
    assert [math.isnan(y) for y in data(low)] == [False] * 10 + [True] * 11


def test_long_profiles_are_thinned(lselu):
    depth = 100_000
    column = (*[1.0] * 70_001, *[None] * 30_000)
    layers = lselu.profile._replace(
        layer=tuple(range(depth + 1)), q=column, q_mean=None, q_sd=None, log_gradient=column, log_gradient_sd=None,
        correlation=None,
    )  # fmt: skip
    figure = plot._figure([replace(lselu, depth=depth, profile=layers)])
    xs = [float(x) for x in figure.axes[0].lines[0].get_xdata()]
    assert len(xs) < 2 * profiles.MOST_POINTS
    assert {0.0, 1.0, 2.0, 70_000.0, 70_001.0, 99_999.0, 100_000.0} <= set(xs)


@pytest.mark.parametrize("count", [1, 2, 6, 7, 40])
def test_lines_can_be_told_apart(count):
    pens = drawing.pens(count)
    assert len({(str(pen.color), str(pen.dashes)) for pen in pens}) == count
    if 1 < count <= 7:
        from matplotlib.colors import to_rgb

        grey = sorted(
            sum(w * x**2.2 for w, x in zip((0.21, 0.72, 0.07), to_rgb(pen.color), strict=True)) for pen in pens
        )
        lightness = [116 * y ** (1 / 3) - 16 for y in grey]
        assert min(b - a for a, b in itertools.pairwise(lightness)) > 7


@pytest.mark.parametrize("count", [8, 30])
def test_many_records(count, lselu, tmp_path):
    records = [made(lselu, epsilon=0.001 * (k + 1), q_sd=lselu.profile.q) for k in range(count)]
    figure = plot._figure(records)
    names = [text for text in legend(figure) if text.startswith("lselu")]
    assert 8 <= len(names) <= MOST_LABELS
    assert {"lselu, ε = 0.001", f"lselu, ε = {0.001 * count:g}"} <= set(names)
    plot.propagations(records, str(tmp_path / "figure.png"))


def test_coinciding_lines_are_both_seen(lselu):
    axes = plot._figure([lselu, made(lselu, mixup=0.2)]).axes[2]
    assert [line.get_linewidth() for line in axes.lines] == [pytest.approx(3.3), 1.5]


SWEEPS = [
    # what the records have -> the abscissa, and the names of the lines
    ([{"depth": x} for x in (10, 100, 1000)], "L   depth in layers", ["lselu, ε = 0.03, N = 64"]),
    ([{"depth": x, "epsilon": 1 / x} for x in (10, 100)], "L   depth in layers", ["lselu, N = 64"]),
    ([{"fan_in": x, "epsilon": 1 / x} for x in (64, 256)], "N   fan-in", ["lselu, ε set by N"]),
    (
        [{"fan_in": n, "epsilon": e} for n in (64, 256, 1024) for e in (1 / n, 0.01)],
        "N   fan-in",
        ["lselu, ε set by N", "lselu, ε = 0.01"],
    ),
    (
        [{"fan_in": n, "epsilon": e} for n in (64, 256) for e in (0.01, 0.02, 0.03)],
        "ε   backward gain minus one",
        ["lselu, N = 64", "lselu, N = 256"],
    ),
    ([{"q0": x} for x in (0.1, 1.0, 10.0)], "q₀   second moment of the inputs", ["lselu, ε = 0.03, N = 64"]),
    ([{"sigma_b": x} for x in (0.0, 0.1)], "deviation of the biases", ["lselu, ε = 0.03, N = 64"]),
    ([{"sigma_w": x} for x in (0.9, 1.0, 1.1)], "deviation of the weights, times", ["lselu, ε = 0.03, N = 64"]),
    (
        [{"weight_mean": x, "centralize": c} for x in (-0.1, 0.0, 0.1) for c in (False, True)],
        "weight mean, in units of the weights' deviation",
        ["lselu", "lselu, centralized weights"],
    ),
    (
        [{"mixup": x, "q0": 1 - x / 3, "c0": x} for x in (0.1, 0.2, 0.3)],
        "A   mixup, t ~ Beta(A, A)",
        ["lselu, ε = 0.03, N = 64"],
    ),
    (
        [{"depth": x, "weights": w} for x in (10, 20) for w in ("gaussian", "orthogonal")],
        "L   depth in layers",
        ["lselu, gaussian weights", "lselu, orthogonal weights"],
    ),
    (
        [{"epsilon": e} for e in (0.01, 0.03)] + [{"act": "relu", "epsilon": None, "params": Params({})}],
        "ε   backward gain minus one",
        ["lselu", "relu"],
    ),
    (
        [{"fan_in": n} for n in (64, 128, None)],
        "N   fan-in",
        ["lselu", "lselu, infinite width"],
    ),
]


@pytest.mark.parametrize(("changes", "abscissa", "labels"), SWEEPS)
def test_sweeps_go_over_what_varies(changes, abscissa, labels, lselu, tmp_path):
    records = [point(lselu, sd=0.5, **change) for change in changes]
    figure = plot._figure(records)
    (axes,) = figure.axes
    assert abscissa in axes.get_xlabel()
    assert [text for text in legend(figure) if text != BAND] == labels
    plot.propagations(records, str(tmp_path / "figure.png"))


def test_sweep_shows_growth(lselu):
    """Decimal logarithms over a logarithmic axis, with a band, in the order of the abscissa; overflow breaks it."""
    growth = {1000: None, 10: 1.0, 100: 10.0, 10000: 1000.0}
    records = [point(lselu, depth=n, growth=g, sd=2.0) for n, g in growth.items()]
    (axes,) = plot._figure([made(records[0], budget=Budget(10.0, False, 3, None)), *records[1:]]).axes
    line = lines(axes, drawing.COLORS[0], width=1.5)[0]
    assert [float(x) for x in line.get_xdata()] == [1, 2, 3, 4]
    ys = data(line)
    assert ys[:2] == pytest.approx([1 / math.log(10), 10 / math.log(10)])
    assert math.isnan(ys[2])
    assert data(lines(axes, drawing.COLORS[0], width=0.5)[1])[0] == pytest.approx(3 / math.log(10))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "100", "1000", "10000"]
    assert {-1.0, 1.0} <= {float(each.get_ydata()[0]) for each in axes.lines}


def test_records_at_one_point_are_rows(lselu, relu, tmp_path):
    records = [point(lselu, sd=0.5), point(relu), point(made(lselu, epsilon=0.1), growth=None)]
    (axes,) = plot._figure(records[:2]).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "lselu, ε = 0.03"
    assert labels[1].startswith("relu")
    (only,) = plot._figure(records[:1]).axes
    assert [label.get_text() for label in only.get_yticklabels()] == ["lselu, ε = 0.03, N = 64"]
    plot.propagations(records[:2], str(tmp_path / "figure.png"))


def limited(record, sizes=(64, 256, 1024), scale=1.0, **changes):
    return [made(record, fan_in=n, tolerance=scale / math.sqrt(n), **changes) for n in sizes]


def free(record, sizes=(64, 256, 1024), **changes):
    return [made(record, fan_in=n, tolerance=None, **changes) for n in sizes]


def test_tolerance_falls_with_the_fan_in(lselu, tmp_path):
    path = tmp_path / "figure.svg"
    records = limited(lselu) + free(lselu, centralize=True) + free(lselu, centralize_activation=True)
    figure = weight_mean.figure(records)
    (axes,) = figure.axes
    line = lines(axes, drawing.COLORS[0])[0]
    assert data(line) == pytest.approx([-0.5 * math.log10(n) for n in (64, 256, 1024)])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "256", "1024"]
    assert legend(figure) == ["lselu", "lselu, centralized weights", "lselu, centralized activation"]
    found = texts(figure)
    assert "no limit: lselu, centralized weights" in found
    assert "no limit: lselu, centralized activation" in found
    plot.tolerance(records, str(path))
    assert "weight mean / weights&apos; deviation" in path.read_text() or "weights' deviation" in path.read_text()


def test_weight_mean_and_its_crossing(lselu, relu):
    records = limited(lselu, weight_mean=-0.1) + limited(relu, scale=2.0, weight_mean=-0.1)
    figure = weight_mean.figure(records + free(lselu, centralize=True, weight_mean=-0.1))
    found = texts(figure)
    assert "weight mean asked for: −0.1" in found
    assert {"N ≈ 100", "N ≈ 400"} <= set(found)
    near = limited(lselu, weight_mean=0.1) + limited(relu, scale=1.02, weight_mean=0.1)
    assert "N ≈ 100 to 104" in texts(weight_mean.figure(near))
    beyond = weight_mean.figure(limited(lselu, weight_mean=0.9))
    assert not any(text.startswith("N ≈") for text in texts(beyond))
    assert beyond.axes[0].get_ylim()[1] > math.log10(0.9)


def test_one_line_for_an_activation_and_remedy(lselu):
    """Settings that do not matter for the tolerance make no lines; those that do, do."""

    def labels(records):
        return [line.label for line in weight_mean.lines_of(records)]

    both = limited(lselu) + limited(lselu, weights="orthogonal", depth=7, weight_mean=0.1)
    assert labels(both) == ["lselu"]
    chosen = [made(record, epsilon=1 / record.fan_in) for record in limited(lselu)]
    assert labels(chosen) == ["lselu"]
    chosen += limited(lselu, epsilon=0.01, scale=1.1)
    assert [line.label for line in weight_mean.lines_of(settings.set_by_fan_in(chosen))] == [
        "lselu, ε set by N",
        "lselu, ε = 0.01",
    ]
    strengths = limited(lselu, epsilon=0.01) + limited(lselu, epsilon=0.03, scale=1.1)
    assert labels(strengths) == ["lselu, ε = 0.01", "lselu, ε = 0.03"]
    assert labels(limited(lselu) + limited(lselu, mixup=0.2)) == ["lselu", "lselu, mixup 0.2"]
    (line,) = weight_mean.lines_of([made(lselu, fan_in=None, widths=(784, 1000, 10), tolerance=0.1)])
    assert line.x == [3.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda r: limited(r, (64,)),
        lambda r: free(r, (64,), centralize=True),
        lambda r: free(r, centralize=True),
        lambda r: [*limited(r, range(10, 400)), *free(r, range(10, 400), centralize=True)],
        lambda r: [made(r, act=f"f{k}", centralize=k % 2 == 0, tolerance=0.1 if k % 2 else None) for k in range(16)],
        lambda r: limited(r, scale=1e-300) + limited(r, scale=1e300, act="f"),
        lambda r: [*limited(r), *free(r, (512,))],
        lambda r: limited(r, (1, 10**9), weight_mean=1e-3),
    ],
    ids=["one", "one free", "all free", "many", "16 lines", "extremes", "gap", "wide"],
)
def test_tolerances_draw_without_warning(make, lselu, tmp_path):
    plot.tolerance(make(lselu), str(tmp_path / "figure.png"))


def test_of_real_propagations(tmp_path):
    remedies = [{}, {"centralize": True}, {"scaled_mixup": "0.2"}]
    records = [simulate("lselu", "0.03", depth=5, fanin=n, **r) for r in remedies for n in (32, 128)]
    figure = weight_mean.figure(records)
    assert legend(figure) == ["lselu", "lselu, centralized weights", "lselu, scaled mixup 0.2"]
    for draw in (plot.propagations, plot.tolerance):
        draw(records, str(tmp_path / "figure.pdf"))


def test_no_pyplot_and_no_numerics(tmp_path):
    """Drawing needs the records and matplotlib: neither the simulation nor scipy is loaded for it."""
    code = """
import json, sys
from snn_cli.records import Propagation
from snn_cli.reports import propagation_plot
record = Propagation.from_dict(json.load(sys.stdin))
propagation_plot.propagations([record], "figure.svg")
propagation_plot.tolerance([record], "tolerance.svg")
own = {name for name in sys.modules if name.startswith("snn_cli.propagation") or name == "snn_cli.simulation"}
assert not own | {"matplotlib.pyplot", "scipy.special"} & set(sys.modules), own
"""
    record = json.dumps(simulate("lselu", "0.03", depth=5, fanin=64).to_dict())
    env = {**os.environ, "PYTHONPATH": str(Path(plot.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, input=record, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
