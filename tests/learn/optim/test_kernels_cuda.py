"""Triton's kernels against the plain torch step: on a GPU, or in Triton's interpreter without one.

The interpreter has to be asked for before Triton is imported, so without a GPU a single test runs
this file again in a process of its own, where ``TRITON_INTERPRET`` is 1 and tensors on the CPU.
"""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from microdollar.learn.optim import Collins, kernels_cuda, rounding
from microdollar.learn.optim.exact import Rates
from microdollar.learn.optim.kernels_cuda import Job, Kind, matrix_steps, usable
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.reference import Step, new_state
from microdollar.learn.optim.reference import matrix_step as plain_step
from microdollar.learn.optim.update import Gathered, _update_away

GPU = torch.cuda.is_available() and find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton") is not None
DEVICE = torch.device("cuda", 0) if GPU and not INTERPRETED else torch.device("cpu")
kernels = pytest.mark.skipif(
    not (GPU or INTERPRETED), reason="neither a GPU with Triton nor TRITON_INTERPRET=1"
)
on_gpu = pytest.mark.skipif(not GPU or INTERPRETED, reason="no GPU with Triton")
# Numpy warns where a GPU does not: of infinite sums, and logarithms of a beta of 0.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

F32, BF16 = torch.float32, torch.bfloat16
CASES = [
    ((16, 256), F32, F32),
    ((19, 301), BF16, BF16),
    ((66, 16), F32, BF16),
    ((16, 272), BF16, F32),
]
"""Whole blocks; a short last block of odd columns; two ranges of rows of less than a block."""
COMBINATIONS = [(m, v) for m in kernels_cuda.M_STATES for v in kernels_cuda.V_STATES]
"""In the interpreter, where a program takes 10 ms, each name at least once."""
if not GPU:
    COMBINATIONS = [(m, v) for m, v in COMBINATIONS if v == "factored" or m == "4bit"]
CODED = ("8bit", "4bit", "2bit", "1bit")
RATES = Rates(
    lr=2e-3, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, maximize=False,
    rounding="stochastic", join=True,
)  # fmt: skip
STEP = Step(
    lr=2e-3, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1,
    correction1=1 - 0.9**3, correction2=1 - 0.99**3, rounding="stochastic",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(GPU or INTERPRETED, reason="the other tests of this file run here")
def test_all_of_this_file_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.skipif(INTERPRETED, reason="no matter of the interpreter")
def test_triton_is_loaded_for_no_step_on_a_cpu():
    code = """
import sys, torch
from microdollar.learn.optim import Collins, kernels_cuda
# Torch loads it on its own later on.
assert "triton" not in sys.modules
layer = torch.nn.Linear(128, 128)
layer(torch.ones(1, 128)).sum().backward()
Collins(layer.parameters()).step()
assert not [name for name in sys.modules if name.endswith("kernels_triton")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def _gradient(shape, dtype=torch.float32, scale=1e-3):
    rows, cols = shape
    spread = torch.rand(rows, 1) * torch.rand(1, cols)
    return (torch.randn(shape) * spread * scale).to(DEVICE, dtype)


def _start(shape, m_state, v_state, dtype=torch.float32, seed=0):
    """A parameter and a state that has seen two gradients."""
    torch.manual_seed(seed)
    param = torch.randn(shape).to(DEVICE, dtype)
    state = new_state(Matrix(*shape), m_state, v_state, DEVICE)
    step = replace(STEP, rounding="nearest")
    for _ in range(2):
        plain_step(param, _gradient(shape), state, step, m_state=m_state, v_state=v_state)
    state["step"] = torch.tensor(2.0, device=DEVICE)
    return param, state


def _copy(state):
    return {name: tensor.clone() for name, tensor in state.items() if name != "step"}


def _counter():
    return torch.zeros((), dtype=torch.int64, device=DEVICE)


def _expected(param, grad, state, m_state, v_state, start, step=STEP):
    """What plain torch makes of it."""
    want, want_state = param.clone(), _copy(state)
    key = rounding.mix_integer(start + 3)
    plain_step(want, grad, want_state, replace(step, key=key), m_state=m_state, v_state=v_state)
    return want, want_state


def _check(job, want, want_state, m_state):
    param, state = job.param, job.state
    if param.dtype == torch.float32:
        # Parameters of size 1 move by 0.002: 1e-6 of what they are, and of the largest step.
        torch.testing.assert_close(param, want, rtol=1e-6, atol=2e-8)
    else:
        torch.testing.assert_close(param, want, rtol=2**-7, atol=0)
        assert float((param != want).float().mean()) < 2e-3
    # A scale that rounding in another order moved over an edge, and codes of its block.
    moved = int((state["m_scale"] != want_state["m_scale"]).sum()) if m_state in CODED else 0
    assert moved <= 1 + 0.01 * param.numel() / 256
    for name, other in want_state.items():
        tensor = state[name]
        if tensor.dtype == torch.uint8:
            assert int((tensor != other).sum()) <= 1 + 256 * moved, name
        elif tensor.dtype == torch.bfloat16:
            near = 1e-6 * float(other.float().abs().max())
            torch.testing.assert_close(tensor, other, rtol=2**-7, atol=near)
            assert int((tensor != other).sum()) <= 1 + 1e-2 * tensor.numel(), name
        else:
            # Of the largest, since old and new momentum may cancel.
            near = 1e-6 * float(other.abs().max())
            torch.testing.assert_close(tensor, other, rtol=5e-6, atol=near)


@kernels
@pytest.mark.parametrize(("m_state", "v_state"), COMBINATIONS)
def test_a_step_is_that_of_plain_torch(m_state, v_state):
    """Several matrices of several shapes and types at once, aligned and not."""
    jobs, wants = [], []
    maximize = v_state == "tile"
    for seed, (shape, p_dtype, g_dtype) in enumerate(CASES):
        param, state = _start(shape, m_state, v_state, p_dtype, seed)
        grad = _gradient(shape, g_dtype)
        start = rounding.mix_integer(seed)
        step = replace(STEP, maximize=maximize)
        wants.append(_expected(param, grad, state, m_state, v_state, start, step))
        jobs.append(Job(param=param, grad=grad, state=state, start=start))
    kind = Kind(
        m_state=m_state, v_state=v_state, release=True, rates=replace(RATES, maximize=maximize)
    )
    assert usable(jobs[0].param, jobs[0].grad, jobs[0].state, kind)
    skipped = _counter()
    matrix_steps(jobs, kind, skipped)
    assert int(skipped) == 0
    for job, (want, want_state) in zip(jobs, wants, strict=True):
        assert float(job.state["step"]) == 3
        _check(job, want, want_state, m_state)


@kernels
@pytest.mark.parametrize("m_state", ["bf16", "4bit", "1bit"])
def test_without_release_what_a_code_loses_is_lost(m_state):
    param, state = _start((19, 301), m_state, "factored")
    grad = _gradient((19, 301))
    want = _expected(param, grad, state, m_state, "factored", 0, replace(STEP, release=False))
    job = Job(param=param, grad=grad, state=state, start=0)
    kind = Kind(m_state=m_state, v_state="factored", release=False, rates=RATES)
    matrix_steps([job], kind, _counter())
    _check(job, *want, m_state)


@kernels
@pytest.mark.parametrize("eps", [0.0, 1e-3, 1.0])
def test_rows_and_columns_without_gradient_and_other_eps(eps):
    shape = (32, 300)
    param, state = _start(shape, "4bit", "factored", seed=1)
    grad = _gradient(shape)
    if eps:
        state = new_state(Matrix(*shape), "4bit", "factored", DEVICE) | {"step": state["step"]}
        grad[3], grad[:, 7], grad[:, 256:] = 0, 0, 0
    want = _expected(param, grad, state, "4bit", "factored", 0, replace(STEP, eps=eps))
    job = Job(param=param, grad=grad, state=state, start=0)
    kind = Kind(m_state="4bit", v_state="factored", release=True, rates=replace(RATES, eps=eps))
    matrix_steps([job], kind, _counter())
    _check(job, *want, "4bit")


@kernels
def test_rates_may_be_on_the_device():
    made = []
    for on_device in (False, True):
        param, state = _start((19, 301), "4bit", "factored")
        grad = _gradient((19, 301))
        rates = RATES
        if on_device:
            lr, beta1, beta2 = (
                torch.tensor(x, device=DEVICE) for x in (RATES.lr, RATES.beta1, RATES.beta2)
            )
            rates = replace(RATES, lr=lr, beta1=beta1, beta2=beta2)
        kind = Kind(m_state="4bit", v_state="factored", release=True, rates=rates)
        assert usable(param, grad, state, kind)
        job = Job(param=param, grad=grad, state=state, start=0)
        matrix_steps([job], kind, _counter())
        made.append(job)
    # 1 - beta2 of a float32 beta2 is 0.01 to 2e-6 of it.
    torch.testing.assert_close(made[0].param, made[1].param, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(made[0].state["v_col"], made[1].state["v_col"], rtol=1e-5, atol=0)
    elsewhere = Kind(
        m_state="4bit", v_state="factored", release=True,
        rates=replace(RATES, lr=torch.tensor(1.0, device="meta")),
    )  # fmt: skip
    assert not usable(param, grad, state, elsewhere)


@kernels
@pytest.mark.parametrize(
    ("v_state", "bad"), [("factored", float("nan")), ("factored", 1e30), ("tile", -float("inf"))]
)
def test_a_gradient_that_is_not_finite_changes_nothing(v_state, bad):
    """And the matrix beside it makes its step."""
    jobs, before = [], []
    for seed in range(2):
        param, state = _start((17, 300), "4bit", v_state, seed=seed)
        jobs.append(Job(param=param, grad=_gradient((17, 300)), state=state, start=seed))
        before.append((param.clone(), {name: one.clone() for name, one in state.items()}))
    jobs[0].grad[16, 299] = bad
    kind = Kind(m_state="4bit", v_state=v_state, release=True, rates=RATES)
    skipped = _counter()
    matrix_steps(jobs, kind, skipped)
    assert int(skipped) == 1
    assert torch.equal(jobs[0].param, before[0][0])
    assert all(torch.equal(jobs[0].state[name], one) for name, one in before[0][1].items())
    assert not torch.equal(jobs[1].param, before[1][0]) and float(jobs[1].state["step"]) == 3
    # What GradScaler leaves out, it counts itself.
    after = jobs[1].param.clone()
    matrix_steps(jobs, kind, skipped, torch.ones(1, device=DEVICE))
    assert int(skipped) == 1 and torch.equal(jobs[1].param, after)
    assert float(jobs[1].state["step"]) == 3
    matrix_steps(jobs[1:], kind, skipped, torch.zeros(1, device=DEVICE))
    assert int(skipped) == 1 and not torch.equal(jobs[1].param, after)


@kernels
@pytest.mark.parametrize(
    ("m_state", "v_state"),
    [("4bit", "factored"), ("2bit", "tile"), ("1bit", "fp32"), ("bf16", "none")],
)
def test_nothing_is_written_out_of_bounds(m_state, v_state):
    """Every tensor lies between margins that must stay as they are."""
    margin = 64

    def framed(tensor):
        whole = torch.full((tensor.numel() + 2 * margin,), 1, dtype=tensor.dtype, device=DEVICE)
        inside = whole[margin:-margin].view(tensor.shape)
        inside.copy_(tensor)
        return whole, inside

    param, state = _start((19, 301), m_state, v_state)
    wholes, insides = {}, {}
    for name, tensor in (state | {"p": param, "g": _gradient((19, 301))}).items():
        wholes[name], insides[name] = framed(tensor)
    job = Job(param=insides.pop("p"), grad=insides.pop("g"), state=insides, start=0)
    kind = Kind(m_state=m_state, v_state=v_state, release=True, rates=RATES)
    matrix_steps([job], kind, _counter())
    for name, whole in wholes.items():
        assert bool((whole[:margin] == 1).all() and (whole[-margin:] == 1).all()), name


@kernels
def test_more_matrices_than_a_launch_takes_and_more_rows_than_a_range():
    v_state = "factored" if GPU else "none"
    shapes = [(16, 16)] * 65 + ([(2**14 + 70, 16)] if GPU else [])
    starts = [_start(shape, "none", v_state, seed=at) for at, shape in enumerate(shapes)]
    jobs = [Job(param=p, grad=_gradient(p.shape), state=s, start=0) for p, s in starts]
    wants = [_expected(job.param, job.grad, job.state, "none", v_state, 0) for job in jobs]
    kind = Kind(m_state="none", v_state=v_state, release=True, rates=RATES)
    matrix_steps(jobs, kind, _counter())
    for job, (want, want_state) in zip(jobs, wants, strict=True):
        _check(job, want, want_state, "none")


@pytest.mark.skipif(find_spec("triton") is None or INTERPRETED, reason="no compiler of Triton")
def test_kernels_compile_to_machine_code_of_a_gpu(tmp_path, monkeypatch):
    """Of compute capability 8.0, for which no GPU is needed."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget

    from microdollar.learn.optim import kernels_triton

    kinds = {
        "table": "*i64", "grads": "*i64", "room": "*fp32", "many": "i32", "skipped": "*i64",
        "found": "*fp32", "values": ("i64",) * 64,
    }  # fmt: skip
    more = {
        "FACTORED": True, "BETAS": False, "FOUND": True, "LR": False, "RELEASE": True,
        "MAXIMIZE": True, "M_STATE": "2bit", "V_STATE": "factored", "P_HALF": True,
        "G_HALF": False, "AT_RANDOM": True, "ALIGNED": True,
    }  # fmt: skip
    found = {}
    for name in ("fill", "observe", "close", "update"):
        kernel = getattr(kernels_triton, name)
        signature = {
            arg: "constexpr" if arg in more else kinds.get(arg, "fp32") for arg in kernel.arg_names
        }
        fixed = {(at,): more[arg] for at, arg in enumerate(kernel.arg_names) if arg in more}
        source = triton.compiler.ASTSource(kernel, signature=signature, constexprs=fixed)
        found[name] = triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm
        assert found[name]["cubin"]
    # 16 bytes of gradients at once where rows begin at multiples of it.
    assert "ld.global.v4" in found["observe"]["ptx"] and "ld.global.v4" in found["update"]["ptx"]


@kernels
def test_what_it_cannot_do_is_said_beforehand():
    good = torch.zeros(32, 32, device=DEVICE)
    state = new_state(Matrix(32, 32), "4bit", "factored", DEVICE)
    state["step"] = torch.zeros((), device=DEVICE)
    kind = Kind(m_state="4bit", v_state="factored", release=True, rates=RATES)
    assert usable(good, good, state, kind)
    assert not usable(good, good, state, replace(kind, v_state="8bit"))
    assert not usable(good, good, state, replace(kind, m_state="sketch"))
    assert not usable(good, good, state | {"step": state["step"].double()}, kind)
    assert not usable(good, good, state | {"v_row": state["v_row"].double()}, kind)
    assert not usable(good, good, state | {"v_col": torch.zeros(64, device=DEVICE)[::2]}, kind)
    for other in (
        good.t()[:, ::2], good.double(), good.half(), good.to_sparse(), good[:0], good.to("meta"),
        None,
    ):  # fmt: skip
        assert not usable(other, good, state, kind)
        assert not usable(good, other, state, kind)


def _model(dtype, **options):
    torch.manual_seed(3)
    shapes = [(16, 300), (24, 64), (300,), (17, 16, 3, 3)]
    params = [torch.nn.Parameter(torch.randn(shape).to(DEVICE, dtype)) for shape in shapes]
    # Rows that only a copy brings together, which plain torch steps.
    params[3].data = params[3].data.contiguous(memory_format=torch.channels_last)
    return Collins(params, lr=0.01, exact_below=1024, **options)


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_optimizer_steps_the_same_with_kernels_and_without(dtype):
    """The path of an accelerator, which the interpreter is led to by hand."""
    made = []
    for fused in (None, False):
        optimizer = _model(dtype, m_state="4bit", fused=fused)
        group = optimizer.param_groups[0]
        for turn in range(3):
            torch.manual_seed(turn)
            for param in group["params"]:
                param.grad = torch.randn(param.shape).to(DEVICE, dtype)
            if turn == 1:
                group["params"][0].grad[0, 0] = float("nan")
            gathered = Gathered(group, ("m_codes", "m_scale", "v_row", "v_col"))
            optimizer._init_group(group, 0, gathered.shards, *gathered.lists())
            with torch.no_grad():
                _update_away(gathered.entries(), group, None)
        made.append(optimizer)
    assert made[0].skipped_updates == made[1].skipped_updates == 1
    for one, other in zip(*(o.param_groups[0]["params"] for o in made), strict=True):
        assert float(made[0].state[one]["step"]) == float(made[1].state[other]["step"])
        rtol = 1e-5 if dtype == torch.float32 else 2**-7
        far = ~torch.isclose(one, other, rtol=rtol, atol=1e-5)
        # A code at the edge of two levels moves its parameter otherwise.
        assert float(far.float().mean()) < 1e-3


@on_gpu
@pytest.mark.parametrize(("m_state", "v_state"), COMBINATIONS)
def test_a_captured_step_is_the_step_and_asks_nothing_of_the_gpu(m_state, v_state):
    made = []
    for captured in (False, True):
        optimizer = _model(torch.float32, m_state=m_state, v_state=v_state, capturable=True)
        params = optimizer.param_groups[0]["params"][:3]
        optimizer.param_groups[0]["params"] = params
        torch.manual_seed(5)
        grads = [torch.randn(p.shape, device=DEVICE) for p in params]
        for param in params:
            param.grad = torch.zeros_like(param)

        def load(turn, params=params, grads=grads):
            for param, grad in zip(params, grads, strict=True):
                param.grad.copy_(grad * (turn + 1))

        graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for turn in range(3):
                load(turn)
                optimizer.step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.set_sync_debug_mode("error")
        try:
            if captured:
                with torch.cuda.graph(graph):
                    optimizer.step()
            for turn in range(3, 6):
                load(turn)
                if captured:
                    graph.replay()
                else:
                    optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        made.append([p.detach().clone() for p in params])
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


@on_gpu
def test_memory_of_a_step_on_a_gpu_stays_below_64_megabytes():
    param = torch.nn.Parameter(torch.randn(8192, 2048, device=DEVICE))
    optimizer = Collins([param])
    param.grad = torch.randn_like(param)
    optimizer.step()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    optimizer.step()
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before < 64e6
