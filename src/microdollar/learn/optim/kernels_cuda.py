"""Compiled steps of matrices on a CUDA device through Triton, as `reference.matrix_step`'s.

Three launches for up to 64 matrices: sums of squares, then what is kept of them and whether
gradients are finite, then the step, which reads a gradient a second time and everything else once.
Nothing is asked of the device, so a step can be captured in a graph. What a launch has to know of
its matrices goes to the device as arguments of a small kernel, once for each set of addresses.

State of proof: tested on the CPU in the interpreter of Triton 3.7.1, and compiled by it to machine
code of NVIDIA's compute capabilities 8.0, 9.0 and 10.0. None of it has run on a GPU: speed, capture
in a graph and several devices are untested, and how tiles are shaped is reasoned, not measured.
Therefore the first step of every kind on a device is tried there beside plain torch (`usable`).
"""

import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim.exact import Rates
from microdollar.learn.optim.kernels_tables import Plan, is_capturing, plan_of, table_of
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.reference import Step, new_state
from microdollar.learn.optim.reference import matrix_step as plain_step

M_STATES = ("fp32", "bf16", "8bit", "4bit", "2bit", "1bit", "none")
"""Names of ``m_state`` that are compiled."""
V_STATES = ("factored", "tile", "fp32", "none")
"""Names of ``v_state`` that are compiled."""
_DTYPES = (torch.float32, torch.bfloat16)
_ELEMENTS = 2**28
"""Of the matrices of one launch, unless it is one: bounds the memory between launches."""
_CAPABILITY = (8, 0)
"""Triton's least for NVIDIA (its README)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One matrix to step."""

    param: Tensor
    grad: Tensor
    state: State
    """From `reference.new_state`, and ``step``: float32 of no dimension, on the device."""
    start: int
    """What its random numbers start from: `rounding.key_of` but for the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all matrices of a step share."""

    m_state: str
    v_state: str
    release: bool
    rates: Rates
    """Learning rate and decays are numbers, or float tensors of no dimension on the device."""


def usable(param: Any, grad: Any, state: State, kind: Kind) -> bool:  # noqa: ANN401 - no tensor, no step
    """Whether ``matrix_steps`` takes these: contiguous float32 or bfloat16 matrices on a GPU.

    The first of a kind on a device is tried on small matrices beside plain torch, which waits for
    the device; if that fails there is a warning, and False from then on.
    """
    if kind.m_state not in M_STATES or kind.v_state not in V_STATES or not _installed():
        return False
    if torch.compiler.is_compiling() or not all(_is_plain(one) for one in (param, grad)):
        return False
    device, rates = param.device, kind.rates
    numbers = [one for one in (rates.lr, rates.beta1, rates.beta2) if isinstance(one, Tensor)]
    if any(one.device != device for one in (grad, *numbers, *state.values())):
        return False
    if not all(
        one.is_contiguous() and one.dtype == _dtype_of(name, kind) for name, one in state.items()
    ):
        return False
    return _runs_on(device) and _is_tried(device, kind, param.dtype, grad.dtype)


def matrix_steps(
    jobs: Sequence[Job], kind: Kind, skipped: Tensor, found: Tensor | None = None
) -> None:
    """Update parameters, states and step counts in place, as `reference.matrix_step` does.

    A matrix whose gradient is not finite in float32, or the sum of whose squares is not, stays as
    it is, with its state and its count.

    Args:
        jobs: matrices of one device, each ``usable``.
        kind: how their moments are kept, and rates.
        skipped: int64 of no dimension, which counts those left out.
        found: float32 of one element, GradScaler's; where it is not 0 all stay as they are.
    """
    alike: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.param.dtype, job.grad.dtype, _is_aligned(job)), []).append(job)
    for (p_dtype, g_dtype, aligned), all_jobs in alike.items():
        for batch in _batches(all_jobs):
            halves = p_dtype == torch.bfloat16, g_dtype == torch.bfloat16
            with _on(batch[0].param.device):
                _launch(batch, kind, skipped, found, halves, aligned)
    for job in jobs:
        for tensor in (job.param, *job.state.values()):
            torch.autograd.graph.increment_version(tensor)


def _is_plain(tensor: Any) -> bool:  # noqa: ANN401
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dtype in _DTYPES
        and tensor.layout == torch.strided
        and tensor.dim() == 2
        and tensor.is_contiguous()
        and tensor.numel() > 0
    )


def _dtype_of(name: str, kind: Kind) -> torch.dtype:
    """Of a tensor of the state."""
    half = name == "m_scale" or (name == "m" and kind.m_state == "bf16")
    return torch.uint8 if name == "m_codes" else torch.bfloat16 if half else torch.float32


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


@cache
def _runs_on(device: torch.device) -> bool:
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= _CAPABILITY
    return device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"


_trials: dict[tuple[Any, ...], bool] = {}


def _is_tried(device: torch.device, kind: Kind, p_dtype: torch.dtype, g_dtype: torch.dtype) -> bool:
    key = (device, kind.m_state, kind.v_state, p_dtype, g_dtype)
    if key not in _trials:
        if is_capturing(device):
            return False
        try:
            _try(device, kind.m_state, kind.v_state, p_dtype, g_dtype)
            _trials[key] = True
        except Exception as error:
            _trials[key] = False
            warnings.warn(
                f"Collins steps in plain torch on {device}, since its Triton kernels for "
                f"m_state={kind.m_state!r} and v_state={kind.v_state!r} failed there: {error}",
                stacklevel=2,
            )
    return _trials[key]


def _try(
    device: torch.device, m_state: str, v_state: str, p_dtype: torch.dtype, g_dtype: torch.dtype
) -> None:
    """One step of two small matrices, compared with plain torch."""
    rates = Rates(
        lr=0.5, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, maximize=False,
        rounding="nearest", join=True,
    )  # fmt: skip
    step = Step(
        lr=0.5, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, correction1=1 - 0.9,
        correction2=1 - 0.99,
    )  # fmt: skip
    jobs, wanted = [], []
    for shape in ((16, 272), (16, 300)):
        waves = torch.arange(shape[0] * shape[1], device=device).view(shape).sin()
        param, grad = waves.to(p_dtype), waves.square().sub(0.4).to(g_dtype)
        state = new_state(Matrix(*shape), m_state, v_state, device)
        wanted.append(param.clone())
        plain_step(
            wanted[-1], grad, {name: one.clone() for name, one in state.items()}, step,
            m_state=m_state, v_state=v_state,
        )  # fmt: skip
        state["step"] = torch.zeros((), dtype=torch.float32, device=device)
        jobs.append(Job(param=param, grad=grad, state=state, start=0))
    kind = Kind(m_state=m_state, v_state=v_state, release=True, rates=rates)
    matrix_steps(jobs, kind, torch.zeros((), dtype=torch.int64, device=device))
    for job, want in zip(jobs, wanted, strict=True):
        if not torch.allclose(job.param.float(), want.float(), rtol=2**-7, atol=1e-4):
            raise RuntimeError("they differ from plain torch")


def _launch(
    jobs: list[Job],
    kind: Kind,
    skipped: Tensor,
    found: Tensor | None,
    halves: tuple[bool, bool],
    aligned: bool,
) -> None:
    from microdollar.learn.optim import kernels_triton as kernels

    rates, device = kind.rates, jobs[0].param.device
    factored = kind.v_state == "factored"
    plan = plan_of(tuple(tuple(job.param.shape) for job in jobs), factored)
    table = table_of(_fields(jobs, plan), device)
    grads = table_of(tuple(job.grad.data_ptr() for job in jobs), device)
    room = torch.empty(plan.room, dtype=torch.float32, device=device)
    betas = _betas(rates)
    on_device = isinstance(rates.beta1, Tensor)
    lr = rates.lr if isinstance(rates.lr, Tensor) else float(rates.lr)
    # An argument that is not read must be a pointer all the same.
    scaler = room if found is None else found
    kernels.observe[(plan.observe,)](
        table, len(jobs), grads, room, FACTORED=factored, G_HALF=halves[1], ALIGNED=aligned
    )
    kernels.close[(plan.close,)](
        table, len(jobs), room, skipped, scaler, *betas,
        FACTORED=factored, BETAS=on_device, FOUND=found is not None,
    )  # fmt: skip
    kernels.update[(plan.update,)](
        table, len(jobs), grads, room, lr, *betas, float(rates.eps), float(rates.weight_decay),
        M_STATE=kind.m_state, V_STATE=kind.v_state, BETAS=on_device,
        LR=isinstance(rates.lr, Tensor), RELEASE=kind.release, MAXIMIZE=rates.maximize,
        P_HALF=halves[0], G_HALF=halves[1], AT_RANDOM=rates.rounding == "stochastic",
        ALIGNED=aligned,
    )  # fmt: skip


def _fields(jobs: list[Job], plan: Plan) -> tuple[int, ...]:
    """The table: fields in the order of `kernels_triton_parts`, each of all matrices."""

    def address(job: Job, *names: str) -> int:
        return next((job.state[name].data_ptr() for name in names if name in job.state), 0)

    columns: tuple[Sequence[int], ...] = (
        [job.param.data_ptr() for job in jobs],
        [address(job, "m_codes", "m") for job in jobs],
        [address(job, "m_scale") for job in jobs],
        [address(job, "v_row", "v_tile", "v") for job in jobs],
        [address(job, "v_col") for job in jobs],
        [address(job, "step") for job in jobs],
        [job.param.shape[0] for job in jobs],
        [job.param.shape[1] for job in jobs],
        plan.ranges,
        [job.start for job in jobs],
        *plan.firsts,
    )
    return tuple(one for column in columns for one in column)


def _batches(jobs: list[Job]) -> list[list[Job]]:
    from microdollar.learn.optim import kernels_triton_parts as parts

    batches: list[list[Job]] = []
    size = 0
    for job in jobs:
        size += job.param.numel()
        if not batches or len(batches[-1]) == parts.JOBS.value or size > _ELEMENTS:
            batches.append([])
            size = job.param.numel()
        batches[-1].append(job)
    return batches


def _betas(rates: Rates) -> tuple[Any, Any, Any, Any]:
    """Beta1, 1 - beta1, beta2, 1 - beta2; the differences with all digits of a float32."""
    beta1, beta2 = rates.beta1, rates.beta2
    if isinstance(beta1, Tensor):
        return beta1, 0.0, beta2, 0.0
    return float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2


def _is_aligned(job: Job) -> bool:
    """Whether rows begin where 16 bytes can be moved at once."""
    tensors = (job.param, job.grad, *(one for name, one in job.state.items() if name != "step"))
    return job.param.shape[1] % 16 == 0 and all(one.data_ptr() % 16 == 0 for one in tensors)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
