"""The registry, and what it takes to add a family."""

from __future__ import annotations

import sys
import types
from fractions import Fraction

import pytest

from snn_cli import InputError, activations, explain, solve
from snn_cli.activations import selu
from snn_cli.activations.family import Family, Interval, exponential_linear


@pytest.mark.parametrize("name", activations.SOLVABLE)
def test_families_are_consistent(name):
    family = activations.get(name)
    assert family.name == name
    assert family.parameters[0] == "lambda"
    for conditions in family.closures.values():
        assert set(conditions) <= {"mean", "second_moment", "chi"}
        assert len(conditions) >= 2


def test_the_nearest_name_is_suggested():
    with pytest.raises(InputError) as caught:
        activations.get("SSELU ")
    assert caught.value.hint == "--act sselu"
    with pytest.raises(InputError, match="relu has no parameters"):
        activations.get("relu")


def test_a_new_family_is_one_file_and_one_line(monkeypatch, call):
    """A cubed SELU tail, ``lambda alpha (e^(3x) - 1)``: solved, listed, drawn and explained without another change."""

    def shape(ar, p):
        return exponential_linear(ar, p["lambda"], p["lambda"] * p["alpha"], ar.number(3))

    def candidates(ar, _closure, epsilon, _lam):
        d3, d6 = ar.tail(ar.number(3)), ar.tail(ar.number(6))
        gap = 9 * d6 - (d6 - 2 * d3 + ar.number(1) / 2)  # E[f'^2] - E[f^2] = A^2 gap
        square = epsilon / gap
        scale = ar.sqrt(2 + 2 * epsilon - 18 * square * d6)
        return [{"lambda": scale, "alpha": ar.sqrt(square) / scale}]

    def feasible(ar, _closure, _lam):
        d3, d6 = ar.tail(ar.number(3)), ar.tail(ar.number(6))
        gap = 9 * d6 - (d6 - 2 * d3 + ar.number(1) / 2)
        return Interval(ar.number(0), 1 / (9 * d6 / gap - 1), hi_open=True)

    family = Family(
        name="cselu",
        parameters=("lambda", "alpha"),
        positive="lambda*x",
        negative="lambda*alpha*(exp(3*x) - 1)",
        closures={"none": ("second_moment", "chi")},
        shape=shape,
        candidates=candidates,
        feasible=feasible,
        least_slope=selu.least_slope,
        function=lambda np, x, p: p["lambda"] * np.where(x > 0, x, p["alpha"] * np.expm1(3 * np.minimum(x, 0))),
        derivative=selu.derivative,
    )
    module = types.ModuleType("cselu")
    module.FAMILY = family
    monkeypatch.setitem(sys.modules, "cselu", module)
    monkeypatch.setitem(activations.SOLVABLE, "cselu", "cselu")

    s = solve("cselu", Fraction(1, 50))
    assert (s.second_moment, s.chi) == (1.0, 1.02)
    assert abs(s.residuals["chi"]) < 1e-15
    assert s.self_normalizing
    assert "cselu" in call("solve", "--act", "cselu", "--epsilon", "0.02").out
    assert call("solve", "--act", "cselu,lselu", "--epsilon", "0.01,0.02", "--csv").code == 0
    assert call("solve", "--act", "cselu", "--epsilon", "5").code == 3
    assert "exp(3*x)" in explain(s)
