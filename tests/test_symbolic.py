"""The arithmetic of sympy expressions: closed forms against quadrature of the functions themselves."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import sympy
from conftest import quadrature
from mpmath import mp

from snn_cli import activations
from snn_cli.arithmetic.multiprecision import Multiprecision
from snn_cli.arithmetic.symbolic import NoClosedForm, Symbolic
from snn_cli.gaussian import moments

DIGITS = 40
TOLERANCE = mp.mpf(10) ** -25


def _random_params(act, seed):
    generator = random.Random(seed)
    names = activations.get(act).parameters
    return {name: Fraction(generator.randrange(100, 3000), 1000) for name in names}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("act", activations.SOLVABLE)
def test_closed_forms_of_the_moments_against_quadrature(act, seed, named):
    family = activations.get(act)
    ar = Symbolic(named=named)
    symbols = {name: sympy.Symbol(name, positive=True) for name in family.parameters}
    found = moments(family.shape(ar, symbols))
    params = _random_params(act, seed)
    with mp.workdps(DIGITS):
        wanted = quadrature(act, {name: mp.mpf(p.numerator) / p.denominator for name, p in params.items()}, DIGITS)
        for quantity in ("mean", "second_moment", "chi", "gamma", "kappa", "mean_slope"):
            form = getattr(found, quantity)
            if named:
                digits = Multiprecision(200)
                got = ar.value(form, digits, {symbols[name]: digits.number(p) for name, p in params.items()})
            else:
                exact = form.subs({symbols[name]: ar.number(p) for name, p in params.items()})
                assert not exact.free_symbols
                got = exact.evalf(DIGITS)
            assert abs(mp.mpf(got) - wanted[quantity]) < TOLERANCE * max(1, abs(wanted[quantity])), quantity


@pytest.mark.parametrize("act", ["lselu", "sselu"])
def test_derivatives_go_through_the_constants(act):
    """Against differences of the same moment by quadrature: of order h^2, h^2 = 1e-20."""
    family = activations.get(act)
    ar = Symbolic(named=True)
    symbols = {name: sympy.Symbol(name, positive=True) for name in family.parameters}
    gamma = moments(family.shape(ar, symbols)).gamma
    params = _random_params(act, 3)
    digits = Multiprecision(200)
    values = {symbols[name]: digits.number(p) for name, p in params.items()}
    with mp.workdps(DIGITS):
        point = {name: mp.mpf(p.numerator) / p.denominator for name, p in params.items()}
        h = mp.mpf(10) ** -10
        for name in params:
            above, below = (quadrature(act, point | {name: point[name] + step}, DIGITS)["gamma"] for step in (h, -h))
            got = mp.mpf(ar.value(ar.diff(gamma, symbols[name]), digits, values))
            assert abs(got - (above - below) / (2 * h)) < 1e-16


def test_tail_is_the_half_line_moment():
    ar = Symbolic()
    with mp.workdps(DIGITS):
        for s in (Fraction(1), Fraction(5, 3)):
            exact = ar.tail(ar.number(s)).evalf(DIGITS)
            value = mp.quad(lambda z, s=s: mp.exp(mp.mpf(s.numerator) / s.denominator * z) * mp.npdf(z), [-20, 0])
            assert abs(mp.mpf(exact) - value) < TOLERANCE
        assert abs(mp.mpf(ar.phi0().evalf(DIGITS)) - mp.npdf(0)) < TOLERANCE


def test_named_constants():
    ar = Symbolic(named=True)
    s = sympy.Symbol("s", positive=True)
    assert [str(ar.tail(k * s)) for k in (1, 2, 1)] == ["d1", "d2", "d1"]
    assert ar.tail(2 * s) is ar.tail(s + s)
    other, third = ar.tail(sympy.Symbol("t")), ar.tail(s / 2)
    assert len({*ar.tails}) == 4
    assert {ar.tails[other], ar.tails[third]} == {sympy.Symbol("t"), s / 2}
    assert ar.phi0() == ar.density


def test_elementary_functions_are_exact():
    ar = Symbolic()
    x = ar.number(Fraction(9, 4))
    assert ar.sqrt(x) == sympy.Rational(3, 2)
    assert ar.log(ar.exp(x)) == x
    assert ar.number(3) == 3


def test_value_of_roots_and_powers():
    ar, digits = Symbolic(named=True), Multiprecision(120)
    x = sympy.Symbol("x")
    got = ar.value(sympy.sqrt(x / 2) ** 3 / x + 2 / x**2 - ar.density, digits, {x: digits.number(8)})
    assert abs(float(got) - (1 + 2 / 64 - 0.3989422804014327)) < 1e-15


def test_what_has_no_closed_form_says_so():
    ar = Symbolic(named=True)
    with pytest.raises(NoClosedForm):
        ar.root(lambda _, t: t, lambda a: a.number(1))
    x = sympy.Symbol("x")
    with pytest.raises(NoClosedForm, match="not algebraic"):
        ar.value(sympy.exp(x), Multiprecision(80), {x: 1})
