"""What a report advises for a model: followed to the letter, it brings the model into its budget."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import snn_cli  # noqa: E402
import snn_cli.nn  # noqa: E402
from snn_cli import verify_model  # noqa: E402
from snn_cli.engine.trace import trace  # noqa: E402
from snn_cli.nn import SSELU, convert, self_normalizing_init_  # noqa: E402
from snn_cli.propagation.paths import rectified_again  # noqa: E402
from snn_cli.propagation.sums import remedy, sums  # noqa: E402

CONVERT = 'snn_cli.nn.convert(model, "lselu", epsilon="auto")'


class Block(nn.Module):
    """``act(x + f(x))``, as residual networks have it, with batch normalization in the branch."""

    scale = 1.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.norm1 = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.fc2, self.norm2 = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.norm2(self.fc2(self.act(self.norm1(self.fc1(x)))))
        return self.act((x + y) / self.scale)


def residual(blocks=24, width=64):
    return nn.Sequential(nn.Linear(width, width), *(Block(width) for _ in range(blocks)), nn.Linear(width, 16))


def perceptron(act, depth=40, width=128, norm=None):
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), *(norm(width) if norm else ()), act())]
    return nn.Sequential(*hidden, nn.Linear(width, width))


def follow(model: nn.Module, do: str) -> None:
    """Type it."""
    if do.startswith("(x + y)"):
        for module in model.modules():
            if isinstance(module, (Block, Plain)):
                module.scale = eval(do.partition("/ ")[2])
    else:
        exec(do, {"model": model, "snn_cli": snn_cli, "torch": torch})


class Plain(nn.Module):
    """``x + f(x)`` whose branch has half of the second moment, whatever x is: ReLU with weights of 1/fan-in."""

    scale = 1.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)

    def forward(self, x):
        return (x + self.fc2(self.act(self.fc1(x)))) / self.scale


def plain():
    model = nn.Sequential(nn.Linear(64, 64), *(Plain(64) for _ in range(24)), nn.Linear(64, 64))
    self_normalizing_init_(model)
    return model


MODELS = {
    "sselu": lambda: perceptron(lambda: SSELU(0.01)),
    "relu": lambda: perceptron(nn.ReLU),
    "tanh": lambda: perceptron(nn.Tanh),
    "batch norm": lambda: perceptron(nn.ReLU, norm=lambda width: [nn.BatchNorm1d(width)]),
    "residual": residual,
    "no normalization": plain,
    "sigmoid": lambda: perceptron(nn.Sigmoid),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_advice_followed_to_the_letter_ends_in_the_budget(name):
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = MODELS[name]()
        batch = torch.randn(32, next(model.parameters()).shape[1])
        done = []
        while (report := verify_model(model, batch, max_growth=10)).first_violation is not None:
            assert len(done) < 3, done
            done.append(next(advice.do for advice in report.advice if advice.do))
            follow(model, done[-1])
    assert done


def test_weights_alone_are_not_advised_where_the_activation_stays_too_steep():
    """tanh with the gain that keeps q = 1 multiplies the squared gradient by 1.178 a layer: E[f'^2]/E[f^2]."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        report = verify_model(perceptron(nn.Tanh, 40, 64), torch.randn(16, 64), max_growth=10)
        shallow = verify_model(perceptron(nn.Tanh, 8, 64), torch.randn(16, 64), max_growth=10)
    gain, activation = report.advice[1:3]
    assert (gain.code, gain.do, activation.code, activation.do) == ("gain", None, "activation", CONVERT)
    assert activation.value == pytest.approx(0.46440290244826758 / 0.3942944903978412, rel=1e-9)
    assert shallow.advice[1].do == "snn_cli.nn.self_normalizing_init_(model, sigma_w=1.59254)"


def converted(scale):
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = residual()
        convert(model, "lselu", epsilon="auto")
        for block in model[1:-1]:
            block.scale = scale
        return model, torch.randn(64, 64)


def test_a_sum_is_named_with_what_its_branches_add_up_to():
    model, batch = converted(1.0)
    report = verify_model(model, batch, max_growth=10)
    (advice,) = [advice for advice in report.advice if advice.code == "sum"]
    seen: dict[str, float] = {}
    inputs = [(block.norm2, block) for block in model[1:-1]]
    for i, (last, block) in enumerate(inputs, 1):
        last.register_forward_hook(lambda _, __, y, i=i: seen.update({f"{i} branch": float(y.square().mean())}))
        block.register_forward_pre_hook(lambda _, x, i=i: seen.update({f"{i} skip": float(x[0].square().mean())}))
    with torch.no_grad():
        model(batch)
    at = advice.layer.partition(".")[0]
    pair = seen[f"{at} branch"], seen[f"{at} skip"]
    assert advice.layer == f"{at}.norm2"
    assert advice.value == pytest.approx(sum(pair) / max(pair), rel=0.15)
    assert advice.do == "(x + y) / 2**0.5"


def test_a_sum_that_is_scaled_is_not_blamed():
    model, batch = converted(2**0.5)
    assert verify_model(model, batch, max_growth=10).first_violation is None
    tight = verify_model(model, batch, max_growth=1.01)
    assert tight.first_violation is not None
    assert "sum" not in [advice.code for advice in tight.advice]


def test_a_sum_that_is_scaled_too_much_is():
    model, batch = converted(2.0)
    report = verify_model(model, batch, max_growth=10)
    (advice,) = [advice for advice in report.advice if advice.code == "sum"]
    assert (advice.value < 0.6, advice.do) == (True, "(x + y) / 2**0.5")


class Normalized(nn.Module):
    """``norm(x + f(x))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc, self.act, self.norm = nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.act(self.fc(x)))


def test_a_sum_in_front_of_a_normalization_is_taken_out_by_it():
    model = nn.Sequential(*(Normalized(32) for _ in range(4)))
    found = sums(trace(model, (torch.randn(4, 32),), {}))
    assert [each.normalized for each in found] == [True] * 4
    report = verify_model(model, torch.randn(16, 32), max_growth=1.001)
    assert "sum" not in [advice.code for advice in report.advice]


class Beside(nn.Module):
    """The first of two layers is normalized, and the normalization is called after the second."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(64, 64), nn.Linear(64, 64), nn.BatchNorm1d(64)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        return (self.norm(a) + b) / 2**0.5


def test_what_is_normalized_is_seen_from_the_graph_and_not_from_the_order_of_calls():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(*(Beside() for _ in range(3)))
        self_normalizing_init_(model)
        for block in model:
            block.b.weight.data *= 8
        report = verify_model(model, torch.randn(64, 64), max_growth=3000)
    (gain,) = [advice for advice in report.advice if advice.code == "gain"]
    assert gain.layer.endswith(".b")


class Sums(nn.Module):
    """Sums in all the ways that one writes them."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.shift, self.weight = nn.Parameter(torch.randn(16)), nn.Parameter(torch.full((16,), 0.5))

    def forward(self, x):
        a, b, c = (layer(x) for layer in self.layers)
        if self.form == "inplace":
            a += b
            return a
        return {
            "two": lambda: a + b,
            "three": lambda: a + (b + c),
            "three scaled": lambda: (a + b + c) / 3**0.5,
            "each scaled": lambda: 0.6 * a + 0.8 * b,
            "reshaped": lambda: ((a + b).view(-1, 4, 4) * 0.5).flatten(1) * 2**0.5,
            "difference": lambda: a - b,
            "factor": lambda: torch.add(a, b, alpha=3),
            "weighed": lambda: a + self.weight * b,
            "constant": lambda: a + self.shift,
            "itself": lambda: a + a,
            "twice": lambda: a + a + b,
            "taken out again": lambda: a + b - b + c,
        }[self.form]()


@pytest.mark.parametrize(
    ("form", "branches", "growth", "scaled"),
    [
        ("two", 2, 2, "(x + y) / 2**0.5"),
        ("inplace", 2, 2, "(x + y) / 2**0.5"),
        ("three", 3, 3, "(x + y + z) / 3**0.5"),
        ("three scaled", 3, 1, "(x + y + z) / 3**0.5"),
        ("each scaled", 2, 1, "(x + y) / 2**0.5"),
        ("reshaped", 2, 1, "(x + y) / 2**0.5"),
        ("difference", 2, 2, "(x + y) / 2**0.5"),
        ("factor", 2, 10, "(x + y) / 2**0.5"),
        ("weighed", 2, 1.25, "(x + y) / 2**0.5"),
        ("constant", None, None, None),
        ("itself", None, None, None),
        ("twice", 3, 5, "(x + y + z) / 2.24"),
        ("taken out again", 2, 2, "(x + y) / 2**0.5"),
    ],
)
def test_sums_as_they_are_written(form, branches, growth, scaled):
    model = Sums(form)
    found = sums(trace(model, (torch.randn(4, 16),), {}))
    assert [each.branches for each in found] == ([branches] if branches else [])
    for each in found:
        assert each.growth == pytest.approx(growth, rel=1e-6)
        assert remedy(each.branches, each.whole) == scaled


def test_branches_that_are_small_beside_one_are_divided_by_less():
    graph = trace(Sums("two"), (torch.randn(4, 16),), {})
    made = [node.outputs[0] for node in graph.nodes if node.kind == "weight"]
    (found,) = sums(graph, {made[0]: 4.0, made[1]: 0.4})
    assert found.growth == pytest.approx(1.1)
    assert remedy(2, found.whole) == f"(x + y) / {math.sqrt(1.1):.3g}"
    assert remedy(2, 1.001) == "x + y"
    assert remedy(4, 3.9) == "(x + y + ...) / 4**0.5"
    assert sums(graph, {made[0]: 4.0}) == []


def test_a_conversion_lists_the_sums_that_are_not_scaled():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model, scaled = residual(2), residual(2)
        scaled[2].scale = 2**0.5
        given = torch.randn(8, 64)
        model.train()
        found = [left for left in convert(model, batch=given).left if "sum" in left.kind]
        one = [left for left in convert(scaled, batch=given).left if "sum" in left.kind]
    assert [left.name for left in found] == ["1.norm2", "2.norm2"]
    assert "(x + y) / 2**0.5" in found[0].why
    assert "times" in found[0].why
    assert [left.name for left in one] == ["1.norm2"]
    assert all(module.training for module in model.modules())


def test_activations_along_a_stream_are_told_from_those_behind_weights():
    graph = trace(residual(2).eval(), (torch.randn(4, 64),), {})
    kinds = [(number, node.name, node.call) for number, node in enumerate(graph.nodes) if node.kind == "activation"]
    again = rectified_again(graph)
    assert [(name, call) for number, name, call in kinds if number in again] == [("1.act", 1)]


def test_a_signal_that_dies_out_has_a_report():
    """GELU without the gain that it needs: q goes to 0, where f' is constant but for rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = perceptron(nn.GELU, 40, 128)
        self_normalizing_init_(model)
        report = verify_model(model, torch.randn(8, 128), max_growth=10)
    assert report.layers[-1].q < 1e-15
    assert report.verdict.agrees
    assert report.advice[0].code == "violation"


@pytest.mark.parametrize("form", [lambda x, y: (x + y) / 2**0.5, lambda x, y: x / 2**0.5 + y / 2**0.5])
def test_the_scale_of_one_sum_is_not_counted_in_the_next(form):
    """However it is written; no activation comes between one sum and the next."""

    class Chain(Plain):
        def forward(self, x):
            return form(x, self.fc2(self.act(self.fc1(x))))

    model = nn.Sequential(nn.Linear(64, 64), *(Chain(64) for _ in range(6)))
    found = sums(trace(model, (torch.randn(4, 64),), {}))
    assert [each.growth for each in found] == pytest.approx([1.0] * 6)
    assert not [left for left in convert(model, batch=torch.randn(4, 64)).left if "sum" in left.kind]


def test_gains_that_make_up_for_each_other_are_left():
    """He's gain before ReLU and 1 before the sum: only the ends of the model are off, and are what is drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(64, 64), *(Plain(64) for _ in range(16)), nn.Linear(64, 64))
        for block in model[1:-1]:
            block.scale = 2**0.5
            nn.init.normal_(block.fc1.weight, 0, 2**0.5 / 8)
            nn.init.normal_(block.fc2.weight, 0, 1 / 8)
        batch, done = torch.randn(16, 64), []
        while (report := verify_model(model, batch, max_growth=5)).first_violation is not None:
            assert len(done) < 2, done
            done.append(next(advice.do for advice in report.advice if advice.do))
            follow(model, done[-1])
    assert done
    assert all("get_submodule('0')" in do or "get_submodule('17')" in do for do in done)
