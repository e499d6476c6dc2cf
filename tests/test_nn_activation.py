"""Activation modules: values and derivatives against mpmath and autograd, state, scripting, compilers, processes."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
import subprocess
import sys

import mpmath
import pytest
from conftest import FORMULAS

torch = pytest.importorskip("torch")

from snn_cli import InputError, NoSolution, SnnError, solve  # noqa: E402
from snn_cli.nn import DSELU, LSELU, SELU, SSELU, dselu, lselu, sselu  # noqa: E402
from snn_cli.nn.function import _expm1  # noqa: E402

MODULES = {
    "lselu": lambda **k: LSELU(epsilon=0.03, **k),
    "sselu": lambda **k: SSELU(epsilon=0.03, **k),
    "dselu": lambda **k: DSELU(epsilon=0.03, **k),
    "selu": lambda **k: SELU(**k),
    "lselu, falling tail": lambda **k: LSELU(epsilon=0.3, **k),
    "lselu, zero mean": lambda **k: LSELU(epsilon=0.05, zero_mean=True, **k),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # also within forward-mode gradients
POINTS = [-700.0, -40.0, -5.5, -1.0, -1e-3, -1e-12, 1e-12, 1e-3, 0.7, 6.0, 50.0, 1e4]
each = pytest.mark.parametrize("name", MODULES)


def reference(module, x, order=0):
    """f or f' in mpmath, from the definition; at 0 the right-hand derivative."""
    p = {k: mpmath.mpf(v) for k, v in module.solution.params.items()}
    with mpmath.workdps(40):
        if x >= 0:
            return p["lambda"] * (mpmath.mpf(x) if order == 0 else 1)
        return FORMULAS[module.act][order](mpmath.mpf(x), p)


@each
@pytest.mark.parametrize("shift", [0, 1], ids=["without zeros", "with zeros"])  # two ways through eager mode
def test_values_and_derivatives(name, shift):
    module = MODULES[name]()
    points = [*POINTS, 0.0, -0.0] if shift else POINTS
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = module(x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    y = y.detach()
    for i, point in enumerate(points):
        value, slope = reference(module, point), reference(module, point, 1)
        # where the line and the exponential cancel, the error is that of the larger
        size = abs(module.slope * point) + abs(module.amplitude * math.expm1(min(0, point))) + abs(point)
        assert abs(y[i].item() - float(value)) <= 1e-15 * size, point
        assert float(dx[i]) == pytest.approx(float(slope), rel=1e-13, abs=1e-15), point


@each
def test_derivative_at_zero_is_right_handed(name):
    module = MODULES[name]()
    lam = module.solution.params["lambda"]
    x = torch.tensor([0.0, -0.0], dtype=torch.float64, requires_grad=True)
    (dx,) = torch.autograd.grad(module(x).sum(), x)
    assert dx.tolist() == [pytest.approx(lam, rel=3e-16)] * 2
    assert float(module.solution.derivative()(0.0)) == lam
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        z = torch.zeros(3, dtype=dtype, requires_grad=True)
        (dz,) = torch.autograd.grad(module(z).sum(), z)
        assert dz.tolist() == [pytest.approx(lam, rel=torch.finfo(dtype).eps)] * 3


@each
@pytest.mark.parametrize("trained", [None, "one", "channels"])
def test_gradcheck(name, trained):
    options = {} if trained is None else {"trainable": True, "dtype": torch.float64}
    if trained == "channels":
        options["channels"] = 3
    module = MODULES[name](**options)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64) * 3
    x[0, 0, :4] = torch.tensor([-30.0, -8.0, 30.0, 1e-2])
    x = torch.where(x.abs() < 1e-3, torch.full_like(x, 0.5), x).requires_grad_()
    inputs = (x, *module.parameters())

    def function(x, *parameters):
        return torch.func.functional_call(module, dict(zip(["lam"], parameters, strict=False)), (x,))

    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, inputs)


@each
def test_gradcheck_on_both_sides_of_zero(name):
    """At 0 a difference over both sides is the mean of two derivatives: each side is checked by itself."""
    module = MODULES[name]()
    for side in (-1, 1):
        x = torch.tensor([side * 3e-6], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(module, (x,), eps=1e-6)
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(module(x), x)
    h = 1e-6
    x = x.detach()
    forward = (module(x + h) - module(x)) / h
    assert float(slope) == pytest.approx(float(forward), rel=1e-9)
    backward = (module(x) - module(x - h)) / h
    assert abs(float(slope) - float(backward)) > 0.01  # the kink is there: the one-sided check can fail


def test_selu_is_torch_selu():
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    torch.testing.assert_close(SELU()(x), torch.nn.functional.selu(x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@each
def test_low_precision(name, dtype):
    module = MODULES[name]()
    x = torch.linspace(-6, 6, 241, dtype=torch.float64).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    y, exact = module(x), module(wide)
    (dx,), (slope,) = (torch.autograd.grad(v.sum(), at) for v, at in ((y, x), (exact, wide)))
    eps = torch.finfo(dtype).eps
    assert y.dtype == dx.dtype == dtype
    y, exact = y.detach(), exact.detach()
    assert float((y.double() - exact).abs().max()) < 8 * eps * max(1, float(exact.abs().max()))
    assert float((dx.double() - slope).abs().max()) < 4 * eps * float(slope.abs().max())


def test_ends_of_the_range():
    infinities = torch.tensor([-torch.inf, torch.inf, torch.nan])
    assert SSELU(0.03)(infinities)[:2].tolist() == [
        pytest.approx(-SSELU(0.03).solution.params["alpha"]),
        torch.inf,
    ]
    assert LSELU(0.03)(infinities)[:2].tolist() == [-torch.inf, torch.inf]
    assert SSELU(0.03)(infinities).isnan().tolist() == [False, False, True]
    x = torch.tensor([1e30, -1e30, 3e38], requires_grad=True)
    for module in (LSELU(0.03), SSELU(0.03), LSELU(0.3), LSELU(0.03, trainable=True)):
        (dx,) = torch.autograd.grad(module(x).sum(), x)
        assert dx.isfinite().all()
    assert LSELU(0.03)(torch.empty(0, 3)).shape == (0, 3)


def saved_bytes(module, x):
    """Bytes that autograd keeps, each storage once; the input itself counts."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module(x)
    return sum(kept.values())


@each
def test_one_saved_tensor(name):
    for zeros in (False, True):
        x = torch.randn(4096, generator=torch.Generator().manual_seed(0))
        if zeros:
            x[7] = 0
        x.requires_grad_()
        assert saved_bytes(MODULES[name](), x) == x.numel() * 4
        assert saved_bytes(MODULES[name](trainable=True), x) == x.numel() * 4 + 4


def test_trained_lambda():
    module = LSELU(0.03, trainable=True, channels=4)
    assert module.lam.tolist() == [module.solution.params["lambda"]] * 4
    x = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x), LSELU(0.03)(x))
    module(x).square().sum().backward()
    assert module.lam.grad.shape == (4,)
    last = LSELU(0.03, trainable=True, channels=3, channel_dim=-1)
    assert last(x).shape == x.shape
    with pytest.raises(InputError, match="4 channels"):
        module(x.transpose(1, 2))
    assert list(LSELU(0.03).parameters()) == []


def test_lambda_of_trained_activation_moves_the_second_moment():
    module = SSELU(0.03, trainable=True)
    with torch.no_grad():
        module.lam.mul_(1.5)
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = module(x).detach().square()
    assert float(y.mean()) == pytest.approx(2.25, abs=4 * float(y.std()) / len(y) ** 0.5)


@each
def test_moments_by_monte_carlo(name):
    module = MODULES[name]()
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    y = module(x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    for sample, expected in ((y.detach().square(), 1.0), (dx.square(), 1 + module.solution.epsilon)):
        error = float(sample.std()) / len(sample) ** 0.5
        assert abs(float(sample.mean()) - expected) < 4.5 * error
        assert error < 0.01  # small enough to tell a wrong function


def test_functions():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for module, function in ((LSELU(0.03), lselu), (SSELU(0.03), sselu), (DSELU(0.03), dselu)):
        params = dict(module.solution.params)
        lam = params.pop("lambda")
        torch.testing.assert_close(function(x, lam, **params), module(x), rtol=1e-14, atol=1e-15)
        column = torch.tensor(lam, dtype=torch.float64, requires_grad=True)
        function(x, column, **params).sum().backward()
        assert column.grad.item() == pytest.approx((module(x) / lam).sum().item())
    with pytest.raises(InputError, match="above 0"):
        sselu(x, 1.0, 1.0, -0.5)
    with pytest.raises(InputError, match="above 0"):
        lselu(x, 0.0, 1.0, 0.5)


def test_ways_to_say_which():
    assert LSELU(depth=100).solution == solve("lselu", depth=100)
    assert LSELU(fan_in=64).solution.params == solve("lselu", epsilon="auto", fanin=64).params
    assert LSELU("auto", fan_in=64).solution.params == LSELU(fan_in=64).solution.params
    record = solve("sselu", epsilon=0.01)
    assert SSELU(solution=record).solution == SSELU(solution=record.to_dict()).solution == record
    assert LSELU("0.03").solution.epsilon == 0.03
    assert SELU(solution=solve("selu")).solution == SELU(solution=solve("selu").to_dict()).solution == SELU().solution


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LSELU(), "needs one of epsilon"),
        (lambda: LSELU(-0.1), "at least 0"),
        (lambda: LSELU(float("nan")), "finite"),
        (lambda: LSELU(0.03, depth=3), "contradict"),
        (lambda: LSELU(fan_in=0), "from 1 to"),
        (lambda: LSELU(depth=0), "from 1 to"),
        (lambda: LSELU(0.03, lam=1, zero_mean=True), "contradict"),
        (lambda: LSELU(0.03, lam=-1), "above 0"),
        (lambda: LSELU(solution=solve("sselu", 0.03)), "one of sselu"),
        (lambda: LSELU(solution=3), "must be a record"),
        (lambda: LSELU(solution={"act": "lselu", "params": {"lambda": 1}}), "functions lselu"),
        (lambda: SELU(solution=solve("lselu", 0.03)), "one of lselu"),
        (lambda: LSELU("auto"), 'epsilon="auto" needs the fan-in'),
        (lambda: LSELU(0.03, trainable=1), "True or False"),
        (lambda: LSELU(0.03, channels=3), "not trained"),
        (lambda: LSELU(0.03, trainable=True, channels=0), "from 1 to"),
        (lambda: LSELU(0.03)(torch.arange(3)), "floating-point"),
        (lambda: LSELU(0.03)([1.0]), "must be a tensor"),
        (lambda: LSELU(0.03)(torch.ones(2, dtype=torch.complex64)), "floating-point"),
    ],
)
def test_bad_arguments(make, said):
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert caught.value.hint
    assert "--" not in str(caught.value) + caught.value.hint  # Python's names, not the command line's


def test_out_of_reach():
    with pytest.raises(NoSolution, match="0 <= epsilon") as caught:
        LSELU(2)
    assert isinstance(caught.value, SnnError)
    assert "--" not in caught.value.hint
    with pytest.raises(NoSolution):
        SSELU(0)


@pytest.mark.parametrize("options", [{}, {"trainable": True}, {"trainable": True, "channels": 3}], ids=str)
def test_state_dict(options, tmp_path):
    source, target = LSELU(0.03, **options), LSELU(0.03, **options)
    if options:
        with torch.no_grad():
            source.lam.mul_(1.25)
    torch.save(source.state_dict(), tmp_path / "state.pt")
    target.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = torch.randn(4, 3)
    torch.testing.assert_close(target(x), source(x), rtol=0, atol=0)
    with pytest.raises(InputError, match="another activation"):
        LSELU(0.01, **options).load_state_dict(source.state_dict())
    again = copy.deepcopy(source)
    torch.testing.assert_close(again(x), source(x), rtol=0, atol=0)


@pytest.mark.parametrize("act", ["lselu", "sselu", "dselu", "selu"])
def test_copies_and_pickles(act):
    module = {"lselu": LSELU, "sselu": SSELU, "dselu": DSELU}[act](0.03, trainable=True) if act != "selu" else SELU()
    x = torch.linspace(-3, 3, 7)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert again.solution == module.solution
        torch.testing.assert_close(again(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize("order", ["channels last", "transposed", "strided", "expanded", "none"])
@pytest.mark.parametrize("name", ["lselu", "sselu", "lselu, falling tail"])
def test_memory_layouts(name, order):
    module = MODULES[name]()
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    view = {
        "channels last": lambda: x.contiguous(memory_format=torch.channels_last),
        "transposed": lambda: x.transpose(1, 3),
        "strided": lambda: x[:, :, ::2, 1:],
        "expanded": lambda: x[:1].expand(5, 3, 4, 6),
        "none": lambda: x[:0],
    }[order]()
    given = view.detach().requires_grad_()
    y = module(given)
    (dx,) = torch.autograd.grad(y.sum(), given)
    packed = view.detach().contiguous().requires_grad_()
    wanted = module(packed)
    (slope,) = torch.autograd.grad(wanted.sum(), packed)
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(dx, slope, rtol=1e-6, atol=1e-7)
    if order == "channels last":
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert dx.is_contiguous(memory_format=torch.channels_last)


def test_what_autograd_asks_for():
    """Twice backwards, checkpoints, a result changed in place; an input changed in place is an error."""
    module = LSELU(0.03)
    x = torch.tensor([-2.0, -0.5, 0.0, 1.5], requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).sum(), x)
    y = module(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    torch.testing.assert_close(x.grad, 2 * slope)
    (kept,) = torch.autograd.grad(torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False).sum(), x)
    torch.testing.assert_close(kept, slope)
    z = module(x)
    z.add_(1)
    torch.testing.assert_close(torch.autograd.grad(z.sum(), x)[0], slope)
    moved = x * 1
    z = module(moved)
    moved.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [lambda: SSELU(1e-10), lambda: SSELU(0.03), lambda: LSELU(0.03)])
def test_a_script_is_as_exact_and_as_light(make, dtype):
    """On the left e^x - 1 + 1 has no digits left of e^x, and in float16 nothing is left of a small epsilon's rate."""
    module = make()
    fixed = torch.jit.script(module)
    x = torch.linspace(-12, 8, 401).to(dtype)
    mine, theirs = _both(module, x.clone().requires_grad_()), _both(fixed, x.clone().requires_grad_())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(theirs[0], mine[0], rtol=2 * eps, atol=2 * eps)
    torch.testing.assert_close(theirs[1][0], mine[1][0], rtol=2 * eps, atol=1e-30)
    assert saved_bytes(fixed, x.clone().requires_grad_()) == x.numel() * x.element_size()
    zero = torch.zeros(2, dtype=dtype, requires_grad=True)
    y, (dx,) = _both(fixed, zero)
    assert float(y.abs().max()) <= (2**-24 if dtype == torch.float16 else 0)
    assert dx.tolist() == [1.0, 1.0]


@each
def test_scripting_and_tracing(name, tmp_path):
    x = torch.tensor([-50.0, -2.0, -0.1, 0.0, 0.3, 90.0, 1e5], requires_grad=True)
    for module in (MODULES[name](), MODULES[name](trainable=True)):
        (expected,) = torch.autograd.grad(module(x).sum(), x)
        for fixed in (torch.jit.script(module), torch.jit.trace(module, x)):
            torch.testing.assert_close(fixed(x), module(x))
            (dx,) = torch.autograd.grad(fixed(x).sum(), x)
            torch.testing.assert_close(dx, expected)
    torch.jit.script(MODULES[name]()).save(str(tmp_path / "module.pt"))
    torch.testing.assert_close(torch.jit.load(str(tmp_path / "module.pt"))(x), MODULES[name]()(x))


def compiled(module, **options):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    if sys.version_info >= (3, 14):
        pytest.skip("torch.compile knows Python up to 3.13")
    return torch.compile(module, fullgraph=True, **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["lselu", "sselu"])
@pytest.mark.parametrize("options", [{}, {"trainable": True, "channels": 4}], ids=str)
def test_compile(name, options):
    module = MODULES[name](**options)
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    x[0] = torch.tensor([0.0, -0.0, -60.0, 500.0])
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(inputs[0]), compiled(module)(inputs[1])]
    torch.testing.assert_close(outputs[1], outputs[0])
    gradients = [
        torch.autograd.grad(y.square().sum(), [z, *module.parameters()]) for y, z in zip(outputs, inputs, strict=True)
    ]
    for mine, eager in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(mine, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [lambda: SSELU(1e-8), lambda: LSELU(0.03)], ids=["sselu 1e-8", "lselu 0.03"])
def test_compiled_values_where_an_exponential_less_one_cancels(make):
    module = make()
    points = torch.cat([torch.linspace(-20, 4, 301), -torch.logspace(-6, 0, 61)])
    wanted, (slope,) = _both(module, points.double().requires_grad_())
    x = points.clone().requires_grad_()
    function = compiled(module)
    y, (dx,) = _both(function, x)
    exact = module.amplitude > 8  # else compiled as torch's own ELUs are: exp(x) - 1, to a unit of 1
    torch.testing.assert_close(y.double(), wanted, rtol=5e-7, atol=1e-12 if exact else 1.2e-7 * module.amplitude)
    torch.testing.assert_close(dx.double(), slope, rtol=5e-7, atol=1e-12)
    assert saved_bytes(function, x) <= 4 * x.numel() + 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_expm1_of_compilers(dtype):
    y = -torch.logspace(-12, 2, 2001, dtype=dtype)
    wanted = torch.tensor([float(mpmath.expm1(mpmath.mpf(v))) for v in y.tolist()], dtype=torch.float64)
    error = (_expm1(y).double() / wanted - 1).abs().max()
    assert float(error) < 12 * torch.finfo(dtype).eps
    assert _expm1(torch.tensor([0.0, -torch.inf], dtype=dtype)).tolist() == [0.0, -1.0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compile_for_any_size_and_with_transformations():
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), LSELU(0.03), SSELU(0.03, trainable=True, channels=6))
    function = compiled(model, dynamic=True, backend="aot_eager")
    for n in (3, 5, 8):
        x = torch.randn(n, 6)
        torch.testing.assert_close(function(x), model(x), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    slopes = torch.func.vmap(torch.func.grad(lambda row: model[1](row).sum()))
    x = torch.randn(4, 6)
    torch.testing.assert_close(torch.compile(slopes, fullgraph=True, backend="aot_eager")(x), slopes(x))
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_transformations():
    module = LSELU(0.03)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = torch.func.vmap(torch.func.grad(lambda row: module(row).sum()))(x)
    wanted = torch.where(x < 0, module.amplitude * x.exp() + module.slope, torch.full_like(x, module.steep))
    torch.testing.assert_close(slope, wanted)
    _, tangent = torch.func.jvp(module, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, wanted)
    hessian = torch.func.hessian(lambda row: module(row).sum())(x[0])
    torch.testing.assert_close(hessian.diagonal(), torch.where(x[0] < 0, module.amplitude * x[0].exp(), 0.0))
    graph = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(3, 3), module))
    assert graph(x.float()).shape == (5, 3)


@pytest.mark.parametrize("trainable", [False, True])
def test_autocast(trainable):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), LSELU(0.03, trainable=trainable), torch.nn.Linear(8, 2))
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype and p.grad.isfinite().all() for p in model.parameters())


PROCESSES = """
import sys, torch
from torch import nn
import torch.distributed as dist
from snn_cli.nn import LSELU, CentralizedActivation, SelfNormalizingDropout, centralize, self_normalizing_init_
rank, where = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + where, rank=rank, world_size=2)

def make():
    act = LSELU(0.03, trainable=True)
    model = nn.Sequential(nn.Linear(6, 8), act, nn.Linear(8, 8), CentralizedActivation(LSELU(0.03)), nn.Linear(8, 3))
    return centralize(self_normalizing_init_(model, generator=torch.Generator().manual_seed(0)))

batch = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
wrapped = nn.parallel.DistributedDataParallel(make())
wrapped.eval()  # a batch mean would be that of a process
wrapped(batch[rank * 4:rank * 4 + 4]).square().mean().backward()
alone = make().eval()
alone(batch).square().mean().backward()
for a, b in zip(wrapped.module.parameters(), alone.parameters()):
    torch.testing.assert_close(a.grad, b.grad)
wrapped.train()
torch.manual_seed(rank)
optimizer = torch.optim.SGD(wrapped.parameters(), 0.05)
for _ in range(3):
    optimizer.zero_grad()
    wrapped(torch.randn(8, 6)).square().mean().backward()
    optimizer.step()
for p in wrapped.parameters():
    both = [torch.empty_like(p) for _ in range(2)]
    dist.all_gather(both, p.detach())
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=0)
dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes(tmp_path, warm):
    started = [
        subprocess.Popen(
            [warm.python, "-c", PROCESSES, str(rank), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for process in started:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
    finally:
        for process in started:
            process.kill()


def test_importing_the_package_loads_no_torch():
    code = "import sys, snn_cli, snn_cli.nn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@each
def test_cuda(name, dtype):
    module = MODULES[name]()
    x = torch.linspace(-12, 12, 4099, dtype=torch.float64)  # 0 is among them
    y, (dx,) = _both(module, x.requires_grad_())
    mine, (slope,) = _both(module, x.detach().to("cuda", dtype).requires_grad_())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(mine.cpu().double(), y, rtol=4 * eps, atol=16 * eps)
    torch.testing.assert_close(slope.cpu().double(), dx, rtol=8 * eps, atol=8 * eps)


def _both(module, x):
    y = module(x)
    return y.detach(), torch.autograd.grad(y.sum(), x)
