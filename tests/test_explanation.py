"""What ``explain`` prints: its numbers against quadrature and differences, its program run, its LaTeX well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import pytest
from conftest import Result
from mpmath import mp

from snn_cli import activations
from snn_cli.activations.family import exponential_linear
from snn_cli.errors import InputError
from snn_cli.explanation import WIDTH, explain
from snn_cli.records import Params
from snn_cli.solver import solve

CASES = {
    "selu": ("selu", None, {}),
    "dselu": ("dselu", "0.05", {}),
    "dselu-relu": ("dselu", "0", {}),
    "lselu": ("lselu", "0.03", {}),
    "lselu-depth": ("lselu", None, {"depth": 200}),
    "lselu-lambda": ("lselu", "0.03", {"lam": "0.7"}),
    "lselu-lambda-min": ("lselu", "1.5", {"lambda_min": "0.5"}),
    "lselu-zero-mean": ("lselu", "0.05", {"zero_mean": True}),
    "lselu-linear": ("lselu", "0", {}),
    "lselu-tiny": ("lselu", "1e-12", {}),
    "lselu-end": ("lselu", "1.4295931339446557", {}),
    "lselu-near-end": ("lselu", "1.4295931339446", {}),
    "sselu": ("sselu", "0.03", {}),
    "sselu-lambda": ("sselu", "0.03", {"lam": "0.5"}),
    "sselu-zero-mean": ("sselu", "0.05", {"zero_mean": True}),
    "sselu-tiny": ("sselu", "1e-12", {}),
    "sselu-large": ("sselu", "1e6", {}),
    "sselu-auto": ("sselu", "auto", {"fanin": 64}),
}
MOMENTS = {"E[f]": "mean", "E[f^2]": "second_moment", "E[f'^2]": "chi", "gamma": "gamma"}
RUN = ["selu", "dselu", "lselu", "lselu-zero-mean", "lselu-end", "sselu", "sselu-tiny", "sselu-large"]
BOUNDED = [
    name
    for name, (act, _, options) in CASES.items()
    if act in ("lselu", "sselu") and not {"lam", "zero_mean"} & set(options)
]


@cache
def solution(name):
    act, epsilon, options = CASES[name]
    return solve(act, epsilon, **options)


@cache
def text(name):
    return explain(solution(name))


@cache
def latex(name):
    return explain(solution(name), style="latex")


def section(document, title):
    """The lines of a section of the text style."""
    match = re.search(rf"^\d\. {title}\n-+\n(.*?)(?=^\d\. |\Z)", document, re.M | re.S)
    assert match, title
    return match[1]


def chain(part, name):
    """The steps of the equation of that name, broken lines joined."""
    lines = part.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(rf"  {re.escape(name)} += ", line))
    steps = [lines[start].strip()]
    for line in lines[start + 1 :]:
        if re.match(r" +[-+=] |      ", line) and line.strip():
            steps.append(line.strip())
        else:
            break
    return " ".join(steps).split(" = ")[1:]


def program(document):
    """The program to check by hand, from the text style."""
    lines = section(document, "Check by hand").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("    from mpmath import"))
    last = max(i for i, line in enumerate(lines) if line.startswith("    "))
    return "\n".join(line[4:] for line in lines[first : last + 1]) + "\n"


def run(warm, code):
    done = subprocess.run([warm.python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split(" = ") for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", RUN)
def test_the_printed_program_runs_and_agrees(name, warm):
    printed = run(warm, program(text(name)))
    record = solution(name)
    assert list(printed) == list(MOMENTS)
    with mp.workdps(40):
        for quantity, field in MOMENTS.items():
            value = mp.mpf(printed[quantity])
            wanted = getattr(record, field)
            # the parameters are rounded to doubles, what they give is not
            assert abs(value - wanted) < 1e-15 * max(1, abs(wanted)), quantity
            closed = float(chain(section(text(name), "Closed forms"), quantity)[-1])
            assert abs(value - closed) <= 2.3e-16 * max(abs(closed), 1e-16), quantity
        for quantity, target, residual in (
            ("E[f^2]", 1, "second_moment"),
            ("E[f'^2]", 1 + mp.mpf(record.epsilon), "chi"),
        ):
            left = mp.mpf(printed[quantity]) - target
            assert abs(left - record.residuals[residual]) < 1.2e-16 * max(record.epsilon, 1)


@pytest.mark.parametrize("name", CASES)
def test_text_is_plain_and_complete(name):
    document, record = text(name), solution(name)
    assert document.isascii()
    assert document.endswith("\n")
    assert "`" not in document
    assert "\n\n\n" not in document
    assert max(map(len, document.splitlines())) <= WIDTH == 80
    titles = re.findall(r"^(\d)\. (.*)$", document, re.M)
    wanted = ["Definition and program", "Closed forms", "The solution", "The multiplier", "Check by hand"]
    if record.closure != "lambda_min":
        wanted.remove("The multiplier")
    assert titles == [(str(i), title) for i, title in enumerate(wanted, 1)]
    assert not re.search(r"\b(nan|zoo|oo|a\d|None)\b", document)
    solved = section(document, "The solution")
    for parameter, value in record.params.items():
        assert chain(solved, parameter)[-1] == repr(value)
    for quantity, field in MOMENTS.items():
        assert chain(solved, quantity) == [repr(getattr(record, field))]
    assert chain(solved, "E[f^2] - 1") == [repr(record.residuals["second_moment"])]
    assert chain(solved, "E[f'^2] - (1 + epsilon)") == [repr(record.residuals["chi"])]


@pytest.mark.parametrize("name", CASES)
def test_filled_in_expressions_give_the_printed_values(name):
    """Evaluated as printed, with the constants recomputed: only the 17 digits of the parameters are taken over."""
    document, record = text(name), solution(name)
    part = section(document, "Closed forms")
    rate = record.params["beta"] if record.act == "sselu" else 1
    values = {
        "lam": mp.mpf(record.params["lambda"]),
        **{k: mp.mpf(v) for k, v in record.params.items() if k != "lambda"},
    }
    with mp.workdps(60):
        values |= {f"d{k}": mp.exp((k * mp.mpf(rate)) ** 2 / 2) * mp.ncdf(-k * rate) for k in (1, 2)}
        values["phi0"] = mp.npdf(0)
        for constant in ("d1", "d2", "phi0"):
            if constant in part:
                assert abs(mp.mpf(chain(part, constant)[-1]) - values[constant]) < 1e-16
        for quantity in (*MOMENTS, "E[f'^2] - E[f^2]"):
            steps = chain(part, quantity)
            symbolic = steps[0].replace("^", "**").replace("lambda", "lam")
            exact = eval(symbolic, {"__builtins__": {}}, values)
            assert abs(float(steps[-1]) - exact) <= 2.3e-16 * abs(exact), quantity
            if name not in ("sselu-tiny", "sselu-large"):  # where 17 printed digits are too few
                filled = eval(steps[1].replace("^", "**"), {"__builtins__": {}})
                assert filled == pytest.approx(float(steps[-1]), abs=1e-13)


@pytest.mark.parametrize(
    "name", ["selu", "dselu", "lselu", "lselu-lambda-min", "lselu-near-end", "lselu-linear", "lselu-zero-mean"]
)
def test_parameters_in_closed_form(name):
    record = solution(name)
    part = section(text(name), "The solution")
    ends = [name for name in record.params if len(chain(part, name)) > 1]
    assert ends == [p for p in record.params if record.closure in ("none", "zero_mean") or p != "lambda"]
    tolerance = 1e-6 if "end" in name else 1e-13  # a square root near its zero, and 17 printed digits
    for parameter in ends:
        filled = chain(part, parameter)[1].replace("^", "**")
        value = eval(filled, {"__builtins__": {}, "sqrt": mp.sqrt})
        assert float(value) == pytest.approx(record.params[parameter], rel=tolerance, abs=tolerance)


def test_a_long_formula_has_a_title_of_several_lines():
    formula = "where(x > 0, l * x, a * (exp(x) - 1))"
    document = explain(replace(solution("lselu"), act=formula, params=Params({"l": 1.27, "a": 1.14})))
    title, _, _ = document.partition("\n=")
    assert title.split() == f"{formula} at epsilon = 0.03: the program and its solution".split()
    assert f"\nF(x) = {formula}\n" in document
    assert max(map(len, document.splitlines())) <= WIDTH


def test_without_a_closed_form_it_says_so():
    assert "without a closed form" in section(text("sselu"), "The solution")
    assert "without a closed form" not in section(text("lselu-zero-mean"), "The solution")


@pytest.mark.parametrize("width", [40, 80, 100])
def test_sentences_fit_the_width(width):
    lines = explain(solution("lselu"), width=width).splitlines()
    assert max(len(line) for line in lines if re.match("[A-Z]", line)) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("record", [lambda: solution("lselu"), lambda: solve("gelu", "0.02")], ids=["lselu", "gelu"])
def test_mathematics_in_a_sentence_is_not_broken(width, record):
    record = record()
    document = explain(record, width=width)
    whole = {
        "lselu": ("gamma = E[z f f']", "0.0 <= epsilon <= 1.4295931339446557", "d gamma/d lambda_min"),
        "gelu": ("gamma = E[z F F']", "E[F'^2] = 1 + 0.02", "(1 + epsilon) Var g <= E[g'^2]", "m^2 = 1 - a^2 Var g"),
    }[record.act]
    assert all(formula in document for formula in whole)
    assert document.isascii()


@pytest.mark.parametrize(
    "name",
    ["lselu", "lselu-depth", "lselu-lambda-min", "lselu-tiny", "sselu", "sselu-tiny", "sselu-large", "sselu-auto"],
)
def test_multiplier_agrees_with_the_record(name):
    record, part = solution(name), section(text(name), "The multiplier")
    assert float(chain(part, "nu")[-1]) == pytest.approx(record.multiplier, rel=1e-14)
    assert "they agree" in " ".join(part.split()) or "they are equal" in part
    assert "It is positive" in part


@pytest.mark.parametrize("name", ["lselu", "sselu"])
def test_multipliers_balance_the_gradients(name):
    part = section(text(name), "The multiplier")
    mu = [float(chain(part, f"mu_{i}")[-1]) for i in (1, 2)]
    nu = float(chain(part, "nu")[-1])
    for parameter in solution(name).params:
        left, right = chain(part, f"d gamma/d {parameter}")
        first, second = (float(x) for x in re.findall(r"(\S+) mu_", right.replace("- ", "-").replace("+ ", "")))
        assert ("nu" in right) == (parameter == "lambda")
        assert first * mu[0] + second * mu[1] + nu * ("nu" in right) == pytest.approx(float(left), rel=1e-13)


@pytest.mark.parametrize("name", ["lselu", "sselu"])
def test_multipliers_are_derivatives_of_the_optimum(name):
    """Against central differences of solved optima; of order h^2 with h = 1e-4 relative to scales near 0.03 and 1."""
    part = section(text(name), "The multiplier")
    act, _, _ = CASES[name]
    by_epsilon = (solve(act, "0.030001").gamma - solve(act, "0.029999").gamma) / 2e-6
    assert float(chain(part, "mu_2")[-1]) == pytest.approx(by_epsilon, rel=1e-6)
    by_bound = (solve(act, "0.03", lambda_min="1.0001").gamma - solve(act, "0.03", lambda_min="0.9999").gamma) / 2e-4
    assert float(chain(part, "nu")[-1]) == pytest.approx(by_bound, rel=1e-6)


def test_multiplier_where_the_equations_are_singular():
    part = " ".join(section(text("lselu-linear"), "The multiplier").split())
    assert "These equations are singular" in part
    assert "It is zero" in part
    assert "mu_1 =" not in part


def test_multiplier_at_the_closed_end_is_infinite():
    part = " ".join(section(text("lselu-end"), "The multiplier").split())
    assert "the multiplier is infinite" in part
    assert "nu = lambda*alpha*(phi0 - d1)/(beta + 2*alpha*d1) The denominator is zero" in part


def test_multiplier_near_the_end_is_honest():
    part = " ".join(section(text("lselu-near-end"), "The multiplier").split())
    assert "depends strongly on the last digits" in part


def test_the_difference_of_lselu_is_that_of_the_theory():
    assert chain(section(text("lselu"), "Closed forms"), "E[f'^2] - E[f^2]")[0] == "lambda^2*alpha^2*(2*d1 - 1/2)"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "lselu",
            ["minimise gamma", "subject to E[f^2] = 1", "E[f'^2] = 1 + epsilon", "lambda >= 1.0", "epsilon = 0.03:"],
        ),
        ("lselu-lambda", ["solve E[f^2] = 1", "E[f'^2] = 1 + epsilon", "lambda = 0.7"]),
        ("lselu-zero-mean", ["solve E[f^2] = 1", "E[f'^2] = 1 + epsilon", "E[f] = 0"]),
        ("selu", ["solve E[f] = 0", "E[f^2] = 1", "epsilon = 0.07157499245579926 is the family's own"]),
        ("dselu", ["solve E[f^2] = 1", "E[f'^2] = 1 + epsilon"]),
        ("lselu-depth", ["epsilon = 1/200, one over the depth, that is 0.005"]),
    ],
)
def test_the_program(name, lines):
    part = " ".join(section(text(name), "Definition and program").split())
    position = 0
    for line in lines:
        assert line in part[position:]
        position = part.index(line, position)


def test_depth_without_a_short_decimal():
    part = " ".join(section(explain(solve("lselu", depth=3)), "Definition and program").split())
    assert "epsilon = 1/3, one over the depth, about 0.3333333333333333" in part


@pytest.mark.parametrize("name", CASES)
def test_latex_is_well_formed(name):
    document = latex(name)
    assert document.isascii()
    assert document.startswith("\\documentclass{article}\n")
    assert document.endswith("\\end{document}\n")
    body = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", document, flags=re.S)
    depth = 0
    for character in re.sub(r"\\[{}]", "", body):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    open_environments = []
    for kind, environment in re.findall(r"\\(begin|end)\{([^}]*)\}", document):
        if kind == "begin":
            open_environments.append(environment)
        else:
            assert open_environments.pop() == environment
    assert not open_environments
    for line in re.split(r"\\\\\n|\n\n", body):
        assert line.count(r"\left") == line.count(r"\right"), line
    assert all(paragraph.count("$") % 2 == 0 for paragraph in body.split("\n"))
    assert "`" not in body
    assert "**" not in body
    assert not re.search(r"\^\{[^{}]*\}\^", body)
    assert not re.search(r"\d[eE][-+]\d", body)
    formulas = re.findall(r"\$(.*?)\$|\\begin\{align\*\}(.*?)\\end\{align\*\}", body, re.S)
    for formula in ("".join(pair) for pair in formulas):
        assert not re.search(r"(?<![\\a-z])(lambda|alpha|beta|gamma|epsilon|mu|nu|phi0|d\d|sqrt|grad)\b", formula), (
            formula
        )


@pytest.mark.parametrize("name", CASES)
def test_latex_says_the_same(name):
    assert program(text(name)) in latex(name)
    for value in solution(name).params.values():
        assert repr(value).split("e")[0] in latex(name)
    titles = re.findall(r"\\section\{(.*)\}", latex(name))
    assert titles == re.findall(r"^\d\. (.*)$", text(name), re.M)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("name", ["lselu", "sselu-tiny"])
def test_latex_compiles(name, tmp_path):
    (tmp_path / "x.tex").write_text(latex(name))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_a_new_family_needs_nothing_here(monkeypatch, warm):
    """SELU's form with the exponent doubled: its constants, moments and program follow from its data."""
    base = activations.get("dselu")
    family = base._replace(
        name="other",
        negative="lambda*alpha*(exp(2*x) - 1)",
        shape=lambda ar, p: exponential_linear(ar, p["lambda"], p["lambda"] * p["alpha"], ar.number(2)),
        candidates=lambda ar, *_: ar.root(None, None),
    )
    record = replace(solution("dselu"), act="other")
    monkeypatch.setattr(activations, "get", lambda name: {"other": family}[name])
    document = explain(record)
    part = section(document, "Closed forms")
    assert "the rate s = 2:" in " ".join(part.split())
    printed = run(warm, program(document))
    for quantity in MOMENTS:
        assert float(printed[quantity]) == pytest.approx(float(chain(part, quantity)[-1]), rel=1e-15)


def test_errors():
    record = solution("lselu")
    with pytest.raises(InputError, match="must be one of text, latex"):
        explain(record, style="html")
    with pytest.raises(InputError, match="has no closure"):
        explain(replace(record, closure="none"))
    with pytest.raises(InputError, match="the parameters of lselu are lambda, alpha, beta"):
        explain(replace(record, params=Params({"lambda": 1.0})))
    with pytest.raises(InputError, match="no activation"):
        explain(replace(record, act="lelu"))


def test_command_line(call):
    for option, wanted in (("--explain", text("lselu")), ("--explain=latex", latex("lselu"))):
        assert call("solve", "--act", "lselu", "--epsilon", "0.03", option) == Result(0, wanted, "")
