"""Programs for any activation: independent quadrature of F itself, and optimality against random feasible points."""

from __future__ import annotations

import json
import math
import re
import shlex
from fractions import Fraction
from functools import cache

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_cli import solve
from snn_cli.activations import find
from snn_cli.cli.export import command as export_command
from snn_cli.cli.main import main
from snn_cli.cli.solve import command as solve_command
from snn_cli.errors import CannotCompute, InputError, NoSolution
from snn_cli.program import bounds, kkt
from snn_cli.program.free.search import NAMES, Program, Search, Start
from snn_cli.program.free.solving import _unlike
from snn_cli.program.jets import Jet
from snn_cli.program.landscape import Landscape
from snn_cli.program.quadrature import Quadrature
from snn_cli.records import Note, Solution

F = {
    "gelu": (lambda x: x * mpmath.ncdf(x), ()),
    "silu": (lambda x: x / (1 + mpmath.exp(-x)), ()),
    "relu": (lambda x: max(x, mpmath.mpf(0)), (0,)),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), (0,)),
    "tanh": (mpmath.tanh, ()),
}
LSELU = "where(x > 0, l*x, l*(a*exp(x) + b*x - a))"
SSELU = "where(x > 0, l*x, l*(a*exp(b*x) - a))"
SELU = "where(x > 0, l*x, l*a*(exp(x) - 1))"


@cache
def solved(act):
    """What many tests look at, from different sides."""
    return solve(act, "0.02")


def by_quadrature(solution, digits=40):
    """E F, E F^2, E F'^2 and gamma of the decimals, by mpmath.quad of F and its numerical derivative alone."""
    f, kinks = F[solution.act]
    with mpmath.workdps(digits + 15):
        a, b, c, d = (mpmath.mpf(dict(solution.decimals)[name]) for name in "abcd")
        cuts = sorted((k - c) / b for k in kinks)
        middle = -c / b  # where f bends, on a scale of 1/b
        ends = sorted({-15, *cuts, *(middle + k / b for k in (-12, -4, -1, 1, 4, 12) if abs(middle + k / b) < 15), 15})

        def function(z):
            return a * f(b * z + c) + d

        def slope(z):
            return mpmath.diff(function, z, h=mpmath.mpf(10) ** -(digits // 2 + 5))

        def e(g):
            return mpmath.quad(lambda z: g(z) * mpmath.npdf(z), ends)

        square = e(lambda z: function(z) ** 2)
        euler = e(lambda z: (z * z - 1) * function(z) ** 2) / 2
        return e(function), square, e(lambda z: slope(z) ** 2), euler


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_conditions_hold_at_40_digits(act):
    solution = solve(act, "0.02", digits=45)
    mean, square, gain, gamma = by_quadrature(solution)
    with mpmath.workdps(60):
        decimals = {name: mpmath.mpf(text) for name, text in solution.decimals}
        assert abs(square - 1) < 1e-38
        assert abs(gain - mpmath.mpf("1.02")) < (1e-24 if F[act][1] else 1e-30)  # differences, also across a kink
        assert abs(mean - decimals["mean"]) < 1e-38
        assert abs(gamma - decimals["gamma"]) < 1e-36


def landscape(act):
    baseline = find(act)
    kinks = [float(k) for k in baseline.kinks(None, {})]
    return Landscape(lambda x: baseline.function(np, x, {}), lambda x: baseline.derivative(np, x, {}), kinks)


def gamma_of(found, epsilon):
    """The smaller gamma at each (b, c), straight from the definition; infinite where there is none."""
    with np.errstate(all="ignore"):
        a2 = (1 + epsilon) / found.gain
        rest = 1 - a2 * found.variance
        gamma = a2 * found.pull - np.sqrt(a2 * rest) * np.abs(found.tilt)
        return np.where((rest >= 0) & (a2 < 1e12), gamma, np.inf)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(["gelu", "silu", "tanh", "elu", "relu", "leaky_relu", "erf"]), st.floats(1e-4, 2.0))
def test_nothing_in_the_box_is_better(act, epsilon):
    solution = solve(act, epsilon)
    there = landscape(act)
    rng = np.random.default_rng(0)
    for b in 2 ** rng.uniform(-5, 5, 40):
        gammas = gamma_of(there.at(b, rng.uniform(-6, 6, 60) * max(1, b)), epsilon)
        assert gammas.min() > solution.gamma - 1e-9
    b, c = solution.params["b"], solution.params["c"]
    around = gamma_of(there.at(b, [c]), epsilon)
    assert around[0] == pytest.approx(solution.gamma, abs=1e-10)
    assert abs(solution.residuals["second_moment"]) < 1e-11
    assert abs(solution.residuals["chi"]) < 1e-11


def test_it_is_stationary_by_differences():
    solution = solved("gelu")
    there, h = landscape("gelu"), 1e-4
    b, c = solution.params["b"], solution.params["c"]
    values = [gamma_of(there.at(x, [y]), 0.02)[0] for x, y in ((b + h, c), (b - h, c), (b, c + h), (b, c - h), (b, c))]
    assert all(value > values[-1] for value in values[:-1])
    assert abs(values[0] - values[1]) < 1e-9
    assert abs(values[2] - values[3]) < 1e-9


def test_mirror_images_and_signs():
    solution = solve("tanh", "0.02")
    assert {Note.MIRRORED, Note.GAMMA_NEGATIVE} <= set(solution.notes)
    assert solution.params["c"] > 0
    assert solution.self_normalizing
    assert -1 < solution.gamma < 0
    x = np.linspace(-3, 3, 7)
    p = solution.params
    assert solution.function()(x) == pytest.approx(p["a"] * np.tanh(p["b"] * x + p["c"]) + p["d"])
    assert Solution.from_dict(json.loads(json.dumps(solution.to_dict()))) == solution


def test_a_symmetric_zero_is_exactly_zero():
    solution = solve("tanh", "0.02", zero_mean=True)
    assert solution.params["c"] == solution.params["d"] == solution.mean == 0.0
    assert solution.closure == "zero_mean"


def test_redundant_scale_and_shift():
    assert solved("relu").params["b"] == 1.0
    assert Note.SCALE_REDUNDANT in solved("relu").notes
    shifted = solve(expr="exp(x)", epsilon="0.02")
    assert shifted.params["c"] == 0.0
    assert Note.SHIFT_REDUNDANT in shifted.notes


@pytest.mark.parametrize(
    ("act", "bound", "b", "gamma"),
    [
        ("relu", "b<=2", 1.0, 0.36228602),
        ("relu", "b>=4,b<=5", 4.0, 0.36228602),
        ("leaky_relu", "b<=0.5", 0.5, 0.37886437),
    ],
)
def test_a_bound_on_a_redundant_scale(act, bound, b, gamma):
    """The nearest value to 1 that the bounds leave; gamma is that of a search by other means, over all of b and c."""
    solution = solve(act, "0.02", bound=bound)
    assert solution.params["b"] == b
    assert solution.gamma == pytest.approx(gamma, abs=1e-8)
    assert solution.active_bounds == ()
    assert Note.SCALE_REDUNDANT in solution.notes


def test_a_bound_on_a_redundant_shift():
    unbound, bounded = (solve(expr="exp(x)", epsilon="0.02", bound=bound) for bound in (None, "c>=0.5"))
    assert bounded.params["c"] == 0.5
    assert bounded.gamma == unbound.gamma
    assert bounded.params["a"] == pytest.approx(unbound.params["a"] * math.exp(-0.5), rel=1e-15)


def test_a_shifted_relu_is_a_relu():
    own, shifted = solved("relu"), solve(expr="relu(x - 0.7)", epsilon="0.02")
    assert shifted.gamma == own.gamma
    assert shifted.params["c"] == pytest.approx(own.params["c"] + 0.7, rel=1e-15)
    assert Note.SCALE_REDUNDANT in shifted.notes


def test_bounds_bind_with_their_multiplier():
    left, middle, right = (solve("gelu", "0.02", bound=f"b<={b}") for b in ("0.299", "0.3", "0.301"))
    assert middle.active_bounds == ("b<=0.3",)
    assert Note.BOUND_ACTIVE in middle.notes
    assert middle.multiplier == pytest.approx((right.gamma - left.gamma) / 0.002, rel=1e-4)


@pytest.mark.parametrize(("bound", "name", "value"), [("d=0", "d", 0.0), ("c=-1", "c", -1.0)])
def test_fixed_parameters(bound, name, value):
    solution = solve("gelu", "0.02", bound=bound)
    assert solution.params[name] == value
    assert solution.active_bounds == ()
    assert abs(solution.residuals["second_moment"]) < 1e-12
    assert abs(solution.residuals["chi"]) < 1e-12
    assert solution.gamma >= solved("gelu").gamma


def test_the_edge_of_the_search_is_told():
    solution = solve("elu", "0.02")
    assert solution.active_bounds == ("b<=32",)
    assert Note.SEARCH_EDGE in solution.notes
    assert solution.multiplier < 0  # a wider box is better


def test_feasible_end():
    end = solved("gelu").feasible_epsilon[1]
    assert solve("gelu", end * (1 - 1e-6)).gamma < math.inf
    with pytest.raises(NoSolution, match="it has one for 0") as error:
        solve("gelu", end * (1 + 1e-6))
    assert error.value.feasible_epsilon[1] == pytest.approx(end)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"act": "linear", "epsilon": "0.1"}, NoSolution, "Poincare"),
        ({"act": "gelu", "epsilon": "0.1", "bound": "b<4"}, InputError, "NAME<=NUMBER"),
        ({"act": "gelu", "epsilon": "0.1", "bound": "q<=4"}, InputError, "a, b, c, d"),
        ({"act": "gelu", "epsilon": "0.1", "bound": "b<=4,b<=5"}, InputError, "twice"),
        ({"act": "gelu", "epsilon": "0.1", "bound": "b<=1,b>=2"}, InputError, "no value"),
        ({"act": "gelu", "epsilon": "0.1", "bound": "a<=-1"}, InputError, "convention"),
        ({"act": "gelu", "epsilon": "0.1", "lam": 1}, InputError, "no lambda"),
        ({"act": "gelu", "epsilon": "0.1", "certify": True}, InputError, "certify"),
        ({"act": "lselu", "epsilon": "0.1", "bound": "b<=1"}, InputError, "lambda-min"),
        ({"expr": "k*x", "epsilon": "0.1"}, InputError, "no value"),
        ({"expr": SELU, "free": "l,q", "epsilon": "0.1"}, InputError, "--free q"),
        ({"expr": SELU, "free": "l", "epsilon": "0.1", "set": {"a": 1}}, InputError, "at least 2"),
        ({"expr": SSELU, "free": "l,a,b", "zero_mean": True}, InputError, "epsilon is wanted"),
        ({"act": "gelu", "expr": "x", "epsilon": "0.1"}, InputError, "contradicts"),
        ({"expr": LSELU, "free": "l,a,b", "epsilon": "0.03"}, NoSolution, "falling as l goes to 0"),
    ],
)
def test_errors(request_, error, words):
    with pytest.raises(error, match=words):
        solve(**request_)


@pytest.mark.parametrize("step", ["tanh(1e9*x)", "erf(1e50*x)", "sigmoid(1e20*x)", "erf(1e30*(x - 2.7))"])
def test_a_step_is_not_said_to_have_no_solution(step):
    """With m near 1 there is one: a^2 = 1.05/E[g'^2]. Doubles do not see it, and warn of nothing."""
    with pytest.raises(CannotCompute, match="too fast for its slope to be seen") as error:
        solve(expr=step, epsilon="0.05")
    assert not isinstance(error.value, NoSolution)


@pytest.mark.parametrize("expr", ["1e-90*tanh(x)", "tanh(1e-90*x)", "max(x, 1000)"])
def test_too_small_for_doubles_with_zero_mean(expr):
    """Each an error of the program's own, and no warning of numpy's."""
    with pytest.raises((NoSolution, CannotCompute)):
        solve(expr=expr, epsilon="0.05", zero_mean=True)


@pytest.mark.parametrize("expr", ["x + 1e9", "tanh(x) + 1e12"])
def test_too_far_off_for_doubles_under_bounds(expr):
    """``1 - m^2`` is 0 where the search starts."""
    with pytest.raises((NoSolution, CannotCompute)):
        solve(expr=expr, epsilon="0.05", bound="a<=2,b=1")


def test_hardly_anywhere_but_constant():
    with pytest.raises(CannotCompute, match="too small a part of the line"):
        solve(expr="exp(-1e6*x**2)", epsilon="0.05")


@pytest.mark.parametrize(
    ("act", "expression", "bound"), [("lselu", LSELU, "l>=1"), ("sselu", SSELU, "l>=1")], ids=["lselu", "sselu"]
)
def test_the_families_are_found_again(act, expression, bound):
    """To every digit of a double, from the formula alone."""
    own = solve(act, "0.03")
    found = solve(expr=expression, free="l,a,b", bound=bound, epsilon="0.03")
    assert list(found.params.values()) == list(own.params.values())
    assert (found.gamma, found.mean, found.kappa) == (own.gamma, own.mean, own.kappa)
    assert found.active_bounds == ("l>=1",)
    assert found.multiplier == own.multiplier


def test_selu_is_found_again():
    own, found = solve("selu"), solve(expr=SELU, free="l,a", zero_mean=True)
    assert list(found.params.values()) == list(own.params.values())
    assert (found.epsilon, found.gamma, found.mean) == (own.epsilon, own.gamma, 0.0)


@pytest.mark.parametrize("free", ["c,a", "a,c"])
def test_a_kink_is_followed_where_a_parameter_moves_it(free):
    """Whatever else has been looked at before, and in whatever order the parameters come."""
    names = tuple(free.split(","))
    search = Search(Program(find("a*relu(x - c)"), names, (), Fraction(3, 100), False))
    for a in (1.0, -1.0, 0.25, -0.25):  # the kink is at the same place
        search.moments([{"c": 1.0, "a": a}[name] for name in names])
    for c in (0.3, -1.7):
        found = search.moments([{"c": c, "a": 1.0}[name] for name in names])
        with mpmath.workdps(30):
            square = mpmath.quad(lambda z, c=c: (z - c) ** 2 * mpmath.npdf(z), [c, 12])
        assert found[NAMES.index("second_moment")] == pytest.approx(float(square), rel=1e-14)
        assert found[NAMES.index("chi")] == pytest.approx(float(mpmath.ncdf(-c)), rel=1e-14)
        row = search.jacobian([{"c": c, "a": 1.0}[name] for name in names])[NAMES.index("chi")]
        assert row[names.index("c")] == pytest.approx(-float(mpmath.npdf(c)), rel=1e-8)


def test_a_range_that_was_searched_may_be_wider():
    """dSELU, which has solutions up to 0.15976 where alpha goes to infinity, and none beyond."""
    dselu = {"expr": "where(x > 0, l*x, l*a*(exp(x) - 1))", "free": "l,a"}
    with pytest.raises(NoSolution, match=r"up to \S+, and the range may be wider") as error:
        solve(**dselu, epsilon="0.2")
    end = solve("dselu", "0.03").feasible_epsilon[1]
    assert 0.15 < error.value.feasible_epsilon[1] < end
    assert solve(**dselu, epsilon="0.1595").self_normalizing


def test_kinks_are_found_once_for_what_moves_them():
    """Of the six points of a Jacobian by a, b and c four have the same c, at which others have been."""
    asked = []
    plain = find("a*relu(x - c) + b*x")
    baseline = plain._replace(kinks=lambda mp, params: asked.append(params["c"]) or plain.kinks(mp, params))
    program = Program(baseline, ("a", "b", "c"), (), Fraction(3, 100), False)
    search = Search(program)
    search.moments([1.0, 0.5, 0.25])
    search.jacobian([1.0, 0.5, 0.25])
    Search(program, search).jacobian([2.0, -0.5, 0.25])
    assert len(asked) == len(set(asked)) == 3


def test_several_sets_of_parameters_where_doubles_overflow():
    """``exp(x) - exp(x - k)`` is ``inf - inf`` from 710 on, and tanh of it 1: a row for every set, as one by one."""
    search = Search(Program(find("p*tanh(exp(exp(x)) - exp(k*x)) + r"), ("p", "r"), (("k", Fraction(60)),), None, True))
    points = np.array([[0.5, 0.25], [1.5, -0.5], [2.0, 0.0]])
    assert search._together(points) == pytest.approx(np.array([search.moments(x) for x in points]), rel=1e-12)


def test_mirror_images_are_told_apart_by_more_than_noise():
    """With 0.6354921 and 0.6354936 for the same parameter the sign of the others decides."""
    one, other = (Start(0.3, mean, x, ()) for mean, x in ((-0.7, (0.6354921, 1.7)), (0.7, (0.6354936, -1.7))))
    assert _unlike([one, other]) == _unlike([other, one]) == [one]


def test_a_minimum_at_zero():
    """``l*abs(x - k) + d`` is best at ``k = 0``, where all is in closed form."""
    found = solve(expr="l*abs(x - k) + d", free="k,l,d", epsilon="0.02")
    scale, mean = math.sqrt(1.02), math.sqrt(2 / math.pi)
    shift = -scale * mean - math.sqrt(1 - scale**2 * (1 - mean**2))
    assert found.params["k"] == 0.0
    assert found.params["l"] == pytest.approx(scale, rel=1e-15)
    assert found.params["d"] == pytest.approx(shift, rel=1e-15)
    assert found.gamma == pytest.approx(scale**2 + scale * shift * mean, rel=1e-14)
    assert {Note.FEASIBLE_SEARCHED} <= set(found.notes)


def test_an_expression_is_wrapped_as_its_baseline():
    own, found = solve("silu", "0.02"), solve(expr="k*x/(1 + exp(-x))", set={"k": 2}, epsilon="0.02")
    assert found.params["a"] == pytest.approx(own.params["a"] / 2, rel=1e-15)
    assert [found.params[n] for n in "bcd"] == [own.params[n] for n in "bcd"]
    x = np.linspace(-4, 4, 9)
    assert found.function()(x) == pytest.approx(own.function()(x), rel=1e-12)


def test_command_line_and_pipe(capsys, tmp_path):
    assert main(["solve", "--act", "gelu,relu", "--epsilon", "0.01,0.02", "--csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5
    assert rows[0].startswith("act,epsilon,closure,depth,fan_in,a,b,c,d,")
    assert main(["solve", "--expr", "x*tanh(softplus(x))", "--epsilon", "0.02", "--json"]) == 0
    record = tmp_path / "record.json"
    record.write_text(capsys.readouterr().out)
    assert main(["analyze", "--params", str(record), "--json"]) == 0
    analysis = json.loads(capsys.readouterr().out)
    assert analysis["self_normalizing"] is True
    assert main(["solve", "--act", "gelu", "--epsilon", "0.02"]) == 0
    table = capsys.readouterr().out
    assert "F(x) = a*f(b*x + c) + d" in table
    assert "Not monotone" in table
    assert main(["solve", "--act", "linear", "--epsilon", "0.02"]) == 3
    assert main(["solve", "--act", "gelu", "--epsilon", "0.02", "--bound", "b<4"]) == 2


def test_the_explanation_checks_itself(capsys):
    assert main(["solve", "--act", "gelu", "--epsilon", "0.02", "--explain"]) == 0
    text = capsys.readouterr().out
    program = "\n".join(line[4:] for line in text[text.index("    from mpmath") :].splitlines())
    printed = []
    scope = {"print": lambda name, _, value: printed.append((name, float(value)))}
    with mpmath.workdps(15):
        exec(program, scope)  # our own text, held against the record
    solution = solved("gelu")
    for name, value in printed:
        expected = {"E[F]": solution.mean, "E[F^2]": 1.0, "E[F'^2]": 1.02, "gamma": solution.gamma}[name]
        assert value == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(-2, 2), st.floats(0.3, 2))
def test_jets_are_derivatives(x, y):
    """Of ``sqrt(x^2 + y)/y``, against mpmath's own differences."""
    n = 2
    jx, jy = Jet.variable(mpmath.mpf(x), 0, n), Jet.variable(mpmath.mpf(y), 1, n)
    inner = jx * jx + jy
    jet = inner.sqrt(mpmath.sqrt(inner.value)) / jy
    with mpmath.workdps(40):
        f = lambda u, v: mpmath.sqrt(u * u + v) / v  # noqa: E731
        orders = {(1, 0): jet.gradient[0], (0, 1): jet.gradient[1], (1, 1): jet.second(0, 1), (0, 2): jet.second(1, 1)}
        for order, value in orders.items():
            expected = float(mpmath.diff(f, (mpmath.mpf(x), mpmath.mpf(y)), order))
            assert float(value) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("b", "c", "kinks"), [(0.4, -1.0, ()), (9.0, 4.0, ()), (3.0, -2.0, (0,)), (0.3, 1.0, (-3, 3))])
def test_quadrature_against_mpmath(b, c, kinks):
    """tanh; one kink as elu has; two as hardswish has."""
    mp = mpmath.MPContext()
    mp.prec = 110
    functions = {
        0: lambda x: (mp.tanh(x), mp.sech(x) ** 2),
        1: lambda x: (x, mp.mpf(1)) if x > 0 else (mp.expm1(x), mp.exp(x)),
        2: lambda x: (
            x * min(max(x + 3, 0), 6) / 6,
            mp.mpf(0) if x < -3 else mp.mpf(1) if x > 3 else (2 * x + 3) / 6,
        ),
    }
    f = functions[len(kinks)]
    b, c = mp.mpf(b), mp.mpf(c)
    sums = Quadrature(lambda _, x: f(x), lambda _: kinks).sums(mp, b, c)
    inner = ((x - c) / b for x in (*kinks, -4, -1, 1, 4))
    cuts = sorted({-14, *(z for z in inner if abs(z) < 14), 14})
    for k, moments, i in ((2, sums.square, 0), (0, sums.slope, 1)):
        expected = mp.quad(lambda z: f(b * z + c)[i] ** 2 * z**k * mp.npdf(z), cuts)  # noqa: B023
        assert abs(moments[k] - expected) < 1e-26


def test_what_does_not_settle_is_an_error():
    wild = Quadrature(lambda mp, x: (mp.exp(x * x), 2 * x * mp.exp(x * x)), lambda _: ())
    mp = mpmath.MPContext()
    mp.prec = 80
    with pytest.raises(CannotCompute, match="do not settle"):
        wild.sums(mp, mp.mpf(1), mp.mpf(0))


def test_bounds_are_read_exactly():
    (bound,) = bounds.read("b<=0.1", ("b",))
    assert bound.value == Fraction(1, 10)
    assert str(bound) == "b<=0.1"


@pytest.mark.parametrize(
    "args",
    ["--act relu --epsilon 0.02", "--expr 'relu(x - 0.7)' --epsilon 0.02", "--act relu --depth 50 --bound 'c<=-1'"],
)
def test_exported_code_says_how_it_was_made(args):
    def export_of(text):
        solving, exporting = (shlex.split(part)[1:] for part in text.split(" | "))
        solved = CliRunner().invoke(solve_command, solving[1:]).output
        return json.loads(solved), CliRunner().invoke(export_command, exporting[1:], input=solved).output

    solution, code = export_of(f"snn solve {args} --json | snn export --params - --to c")
    assert f"epsilon = {solution['epsilon']!r}" in code
    assert f"gamma = {solution['gamma']!r}" in code
    made = next(line for line in code.splitlines() if "Made by: " in line).partition("Made by: ")[2]
    assert made.startswith("snn solve ")
    assert export_of(made)[1] == code


def test_what_jumps_is_refused_before_the_search(monkeypatch):
    monkeypatch.setattr("snn_cli.program.free.record.Search", None)
    with pytest.raises(InputError, match="jumps by"):
        solve(expr="where(x > k, l*x, a*x)", free="l,a,k", epsilon="0.02")


def test_the_work_is_bounded(monkeypatch):
    monkeypatch.setattr("snn_cli.program.free.solving.BUDGET", 10)
    with pytest.raises(CannotCompute, match="given up: 1170 evaluations") as error:
        solve(expr="l*max(x, -k) + d", free="l,k,d", epsilon="0.1", zero_mean=True)
    assert "--set l=1" in error.value.hint


TANH_AND_LINE = {"expr": "a*tanh(b*x) + c*x", "free": "a,b,c", "epsilon": "0.02"}


def _tanh_and_line(b, epsilon):
    """The a and the two c that meet the conditions at one b, and gamma there: with E[z f] = E[f'] all in closed form.

    ``E[f'^2] - E[f^2] = a^2 (D - A)`` with ``A = E[t^2]``, ``D = E[t'^2]`` and ``t = tanh(b z)``; c is the root of a
    quadratic.
    """

    def mean(g):
        return mpmath.quad(lambda z: g(z) * mpmath.npdf(z), [-14, -4, 0, 4, 14])

    def slope(z):
        return b * mpmath.sech(b * z) ** 2

    square, cross = mean(lambda z: mpmath.tanh(b * z) ** 2), mean(slope)
    a = mpmath.sqrt(epsilon / (mean(lambda z: slope(z) ** 2) - square))
    root = mpmath.sqrt((a * cross) ** 2 - a * a * square + 1)
    found = []
    for c in (-a * cross + root, -a * cross - root):
        pull = mean(lambda z, c=c: z * (a * mpmath.tanh(b * z) + c * z) * (a * slope(z) + c))
        found.append((a, c, pull))
    return found


def test_a_solution_inside_the_range_is_found():
    """No start leads there; from a solution at another epsilon the way does. Against a scan over b."""
    found = solve(**TANH_AND_LINE)
    b = found.params["b"]
    with mpmath.workdps(30):
        a, c, gamma = min(_tanh_and_line(mpmath.mpf(b), mpmath.mpf("0.02")), key=lambda each: each[2])
        around = [
            each[2]
            for factor in (0.3, 0.97, 1.03, 4)
            for each in _tanh_and_line(mpmath.mpf(b * factor), mpmath.mpf("0.02"))
        ]
    assert abs(found.params["a"]) == pytest.approx(float(a), rel=1e-13)
    assert abs(found.params["c"]) == pytest.approx(float(abs(c)), rel=1e-13)
    assert found.gamma == pytest.approx(float(gamma), rel=1e-14)
    assert gamma < min(around)
    assert found.feasible_epsilon[0] <= 0.02 <= found.feasible_epsilon[1]


def test_a_solution_that_is_missed_inside_the_range_is_not_denied(monkeypatch):
    monkeypatch.setattr("snn_cli.program.free.absence._arrived", lambda *_: None)
    with pytest.raises(CannotCompute, match=r"epsilon = 0\.02 was not found, though .* there is one from 0 up to 2\.2"):
        solve(**TANH_AND_LINE)


def test_gamma_that_is_the_same_all_along_a_line_of_solutions():
    """A kink at which f is 0 adds nothing to ``E[z f f'] = E[f'^2] + E[f f'']``."""
    line = {"expr": "l*max(x - t, a*(x - t))", "free": "l,a,t", "epsilon": "0.02"}
    with pytest.raises(CannotCompute, match=r"it is 1\.02 all along a line of them") as error:
        solve(**line)
    bound = re.search("--bound '(.*)'", error.value.hint)[1]
    found = solve(**line, bound=bound)
    scale, a, t = (found.params[name] for name in "lat")
    left, right = sorted((scale, scale * a))  # slopes
    with mpmath.workdps(30):
        below, above = (mpmath.quad(lambda z: (z - t) ** 2 * mpmath.npdf(z), ends) for ends in ([-14, t], [t, 14]))
        assert float(left**2 * below + right**2 * above) == pytest.approx(1, rel=1e-14)
        assert float(left**2 * mpmath.ncdf(t) + right**2 * mpmath.ncdf(-t)) == pytest.approx(1.02, rel=1e-14)
    assert found.gamma == pytest.approx(1.02, rel=1e-14)


@pytest.mark.parametrize(
    ("matrix", "right"), [([[0, 1], [0, 1]], [1, 1]), ([[1, 2], [2, 4]], [1, 1]), ([[1, "nan"], [0, 1]], [1, 1])]
)
def test_a_singular_system_is_refused(matrix, right):
    with pytest.raises(CannotCompute, match="singular"):
        kkt.solved(mpmath.mp, mpmath.matrix(matrix), mpmath.matrix(right))


@pytest.mark.parametrize(("expression", "kink"), [("relu(x - 8)", 8), ("relu(x + 8)", -8), ("relu(x - 5)", 5)])
def test_a_kink_far_out_is_as_good_as_one_at_0(expression, kink):
    """``relu(b z + c - s) = b relu(z + (c - s)/b)``: the optimum of ReLU, though f is a line, or 0, around 0."""
    found, own = solve(expr=expression, epsilon="0.05"), solve("relu", "0.05", bound="b=1")
    a, b, c, d = (mpmath.mpf(found.params[name]) for name in "abcd")
    assert found.gamma == pytest.approx(own.gamma, rel=1e-14)
    assert float(a * b) == pytest.approx(own.params["a"], rel=1e-14)
    with mpmath.workdps(30):
        edge = (kink - c) / b
        square = mpmath.quad(
            lambda z: (a * max(b * z + c - kink, 0) + d) ** 2 * mpmath.npdf(z), [-14, -4, edge, 2, 5, 14]
        )
        assert float(square) == pytest.approx(1, rel=1e-13)
        assert float((a * b) ** 2 * mpmath.ncdf(-edge)) == pytest.approx(1.05, rel=1e-13)


def test_a_kink_that_is_out_of_reach():
    with pytest.raises(NoSolution, match=r"b=32.* for any epsilon") as error:
        solve(expr="relu(x - 500)", epsilon="0.05")
    assert "nearer to x = 0" in error.value.hint


def test_an_error_in_a_sweep_says_where(capsys):
    assert main(["solve", "--act", "relu,linear", "--epsilon", "0.02,100", "--bound", "b=1", "--csv"]) == 3
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(("error: relu has no solution at epsilon = 100", "error: linear"))
        assert "epsilon = " in line
    assert main(["solve", "--expr", "l*x + d", "--free", "l,d", "--epsilon", "0.02,0.1", "--csv"]) == 3
    assert [line.partition(": no solution")[0] for line in capsys.readouterr().err.splitlines()] == [
        "error: l * x + d at epsilon = 0.02",
        "error: l * x + d at epsilon = 0.1",
    ]


def test_help_examples():
    from snn_cli.cli.solve import command

    assert "snn solve --act gelu --epsilon 0.02 --json" in CliRunner().invoke(command, ["--help"]).output
