"""From a recorded step to ``Work``: operators with their counts, and memory by what it is for."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from microdollar.errors import MissingExtraError, UsageError
from microdollar.estimator.trace.allocator import block_bytes, replay
from microdollar.estimator.trace.replay import Event, Peak, find_peak, peak_with_scratch
from microdollar.work.operators import GROUPED_PRODUCT, TRANSCENDENTAL, plain_name
from microdollar.work.ops import Buffer, Op, OpKind, Work

if TYPE_CHECKING:
    import torch

    from microdollar.estimator.trace.recorder_torch import Call
    from microdollar.estimator.trace.step_torch import OutputUntil, Recording

Target = Literal["cpu", "cuda"]

CUBLAS_WORKSPACE_BYTES = 8_519_680
""":4096:2:16:8, cuBLAS's workspace that torch allocates at the first product (torch's notes on
CUBLAS_WORKSPACE_CONFIG; on Hopper it is :4096:8, 33,554,432)."""

_UNCOUNTED = "integer arithmetic of torch's operators is not counted"
_FUNCTIONS = ("exp", "log", "tanh")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """One training step once the optimizer's state is there, and its memory."""

    work: Work
    """Operators of the second step; buffers at the peak of the two."""
    peak_bytes: int
    """Most bytes of live tensors at once."""
    first_peak_bytes: int
    """The same within the first step."""
    steady_peak_bytes: int
    """The same within the second step, and so in every later one."""
    allocator_peak_bytes: int | None
    """The same with what CPU kernels take and give back within a call, as far as it is known
    (``microdollar.estimator.trace.scratch``); None for CUDA."""
    resident_bytes: int
    """What stays from step to step: parameters, gradients, state, inputs."""
    reserved_bytes: int | None
    """What the caching allocator keeps of a CUDA device; None on a CPU, which has none."""
    product_flops: int
    """Operations of matrix products alone, in fused kernels too: what a model's closed form and
    torch's FlopCounterMode (where it looks) count."""
    by_phase: Mapping[str, int]
    """Floating-point operations of forward, loss, backward, recompute and optimizer."""
    masked_flops: int
    """Operations above the diagonal of causal attention that fused kernels leave out; with
    them the count is that of full attention."""
    unknown: Mapping[str, int]
    """Calls of operators that no formula counts."""
    events: tuple[Event, ...]
    """Every allocation and free, for a replay by other rules."""


def trace(
    module: "torch.nn.Module | Callable[[], torch.nn.Module]",
    inputs: object,
    *,
    targets: object = None,
    loss: "Callable[..., torch.Tensor] | None" = None,
    optimizer: "str | Callable[..., torch.optim.Optimizer] | None" = None,
    autocast: str | None = None,
    recompute: Sequence[str] = (),
    output_until: "OutputUntil" = "step",
    device: Target = "cpu",
    threads: int | None = None,
) -> Work:
    """Work of one training step of ``module``, counted on fake tensors: nothing is computed.

    Args:
        module: any module, on any device, or a function that makes it.
        inputs: example inputs, of which only shape and dtype count.
        targets: second argument of ``loss``, if it takes one.
        loss: ``loss(output)`` or ``loss(output, targets)``, a scalar.
        optimizer: a name, a class, or a function of the list of parameters.
        autocast: ``bfloat16`` or ``float16`` for forward and loss.
        recompute: names of submodules that are checkpointed.
        output_until: how long the loop holds the module's output.
        device: whose allocator and whose optimizers' defaults.
        threads: threads of one operator; what torch is set to if left out.

    ``trace_step`` says more of each, and returns peaks and phases beside the work.

    Returns:
        Every operator with its count, and what is held in memory at the peak.

    Raises:
        CannotEstimateError: if the step depends on values, or can't run without memory.
        UsageError: if an option is not one that is accepted.
        MissingExtraError: if torch is not installed.

    Examples:
        >>> import microdollar as md
        >>> import torch
        >>> work = md.trace(torch.nn.Linear(64, 10), torch.zeros(8, 64), optimizer="adamw")
        >>> sum(op.total_flops for op in work.ops if op.kind == "matmul") >= 2 * 2 * 8 * 64 * 10
        True
    """
    return trace_step(
        module,
        inputs,
        targets=targets,
        loss=loss,
        optimizer=optimizer,
        autocast=autocast,
        recompute=recompute,
        output_until=output_until,
        device=device,
        threads=threads,
    ).work


def trace_step(
    module: "torch.nn.Module | Callable[[], torch.nn.Module]",
    inputs: object,
    *,
    targets: object = None,
    loss: "Callable[..., torch.Tensor] | None" = None,
    optimizer: "str | Callable[..., torch.optim.Optimizer] | None" = None,
    autocast: str | None = None,
    recompute: Sequence[str] = (),
    output_until: "OutputUntil" = "step",
    device: Target = "cpu",
    threads: int | None = None,
) -> StepTrace:
    """Run two training steps of ``module`` on fake tensors and count the second.

    The step is: drop the gradients, forward, loss, backward, optimizer step. Neither the module
    nor its gradients and buffers are touched.

    Args:
        module: any module, on any device (``meta`` needs no memory), or a function that makes it.
        inputs: example inputs, of which only shape and dtype count (``meta`` tensors will do): a
            tensor, a tuple of positional arguments or a dictionary of arguments by name.
        targets: second argument of ``loss``, if it takes one.
        loss: ``loss(output)`` or ``loss(output, targets)``, a scalar; left out, the ``loss`` that
            the module returns, or the mean of its first output.
        optimizer: a name (``sgd``, ``sgd-momentum``, ``adam``, ``adamw``, ``adagrad``,
            ``adafactor``, ``rmsprop``), a class, or a function of the list of parameters; left
            out, no optimizer step.
        autocast: ``bfloat16`` or ``float16`` for forward and loss.
        recompute: names of submodules (with ``*``) that are checkpointed on top of what the
            module does itself.
        output_until: how long the loop holds the module's output: until the ``loss`` is
            computed (``loss_of(module(x))``), until the end of the ``step`` (a step that is a
            function), or until the ``next`` step has its own (a variable of the loop).
        device: ``cuda`` takes torch's defaults there: optimizers over lists of arrays, sizes in
            blocks of 512 bytes, cuBLAS's workspace and the caching allocator. Kernels stay those
            of the CPU.
        threads: threads of one operator; what torch is set to if left out.

    Raises:
        CannotEstimateError: if the step depends on values, or can't run without memory.
        UsageError: if an option is not one that is accepted.
        MissingExtraError: if torch is not installed.
    """
    if device not in ("cpu", "cuda"):
        raise UsageError(f"device={device!r} is not one of: cpu, cuda")
    try:
        import torch

        from microdollar.estimator.trace.step_torch import record_steps
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "tracing a module") from error
    recording = record_steps(
        module,
        inputs,
        targets=targets,
        loss=loss,
        optimizer=optimizer,
        autocast=autocast,
        recompute=recompute,
        foreach=device == "cuda",
        output_until=output_until,
    )
    return _summary(recording, device, threads or torch.get_num_threads())


def _summary(recording: "Recording", device: Target, threads: int) -> StepTrace:
    recorder = recording.recorder
    events = recorder.storages.events[: recording.marks[-1]]
    reserved = None
    extra = 0
    if device == "cuda":
        reserved = replay([Event(-1, CUBLAS_WORKSPACE_BYTES), *events]).reserved_bytes
        events = [_rounded(event) for event in events]
        extra = CUBLAS_WORKSPACE_BYTES
    peaks = [
        find_peak(events, start, stop)
        for start, stop in zip(recording.marks, recording.marks[1:], strict=False)
    ]
    most = max(range(len(peaks)), key=lambda step: (peaks[step].bytes, step))
    peak_bytes = peaks[most].bytes + extra
    inside = None
    if device == "cpu":
        inside = peak_with_scratch(events, recorder.scratch, peak_bytes)
    buffers = [Buffer(name=name, bytes=size) for name, size in _parts(recording, peaks[most], most)]
    if extra:
        buffers.append(Buffer(name="cuBLAS workspace", bytes=extra))
    calls = recorder.calls
    masked = sum(call.masked_flops * count for call, count in calls.items())
    by_phase: Counter[str] = Counter()
    for call, count in calls.items():
        by_phase[call.phase] += call.flops * count
    return StepTrace(
        work=Work(
            ops=tuple(_op(call, count, threads) for call, count in calls.items()),
            buffers=tuple(buffers),
            notes=(
                *recording.notes,
                *_notes(device, masked, recorder.unknown, most),
                *_inside(inside, peak_bytes),
            ),
            int_ops_uncounted=_UNCOUNTED,
        ),
        peak_bytes=peak_bytes,
        first_peak_bytes=peaks[0].bytes + extra,
        steady_peak_bytes=peaks[1].bytes + extra,
        allocator_peak_bytes=inside,
        resident_bytes=sum(event.bytes for event in events) + extra,
        reserved_bytes=reserved,
        product_flops=sum(_product_flops(call) * count for call, count in calls.items()),
        by_phase=dict(by_phase),
        masked_flops=masked,
        unknown=dict(recorder.unknown),
        events=tuple(events),
    )


def _product_flops(call: "Call") -> int:
    if call.product is None or not call.product.flops:
        return 0
    if call.operator == GROUPED_PRODUCT:
        return call.flops
    # Of attention the share that the mask leaves, of the others all.
    return call.product.flops * call.flops // (call.flops + call.masked_flops)


def _rounded(event: Event) -> Event:
    size = block_bytes(abs(event.bytes))
    return Event(event.block, size if event.bytes > 0 else -size)


def _parts(recording: "Recording", peak: Peak, step: int) -> list[tuple[str, int]]:
    """Bytes of the peak by what they are for, the largest first."""
    storages = recording.recorder.storages
    parts: Counter[str] = Counter()
    for block, size in peak.live.items():
        label = storages.label_of.get(block)
        if label is None and block in recording.held[step]:
            label = "activations"
        if label is None:
            label = _BY_PHASE.get(storages.phase_of[block], "temporaries")
        parts[label] += size
    return parts.most_common()


_BY_PHASE = {"recompute": "recomputed activations", "outside": "other tensors of module and loss"}


def _op(call: "Call", count: int, threads: int) -> Op:
    if call.view:
        name = f"{call.phase}: views"
        return Op(name=name, kind="stream", repeats=count, calls=1, runtime="torch")
    product = call.product
    plain = plain_name(call.operator)
    kind: OpKind = "stream"
    if product is not None:
        kind = "matmul"
    elif plain in TRANSCENDENTAL:
        kind = "transcendental"
    elif call.flops:
        kind = "elementwise"
    return Op(
        name=f"{call.phase}: {call.operator}",
        kind=kind,
        repeats=count,
        flops=call.flops,
        bytes_moved=call.bytes_moved,
        fresh_bytes=call.fresh_bytes,
        function=plain if plain in _FUNCTIONS else "",
        operator=call.operator,
        shape=call.shape if product is None else (product.m, product.n, product.k),
        batch=1 if product is None else product.batch,
        dtype=call.dtype,
        runtime="torch",
        calls=1,
        threads=threads,
        hot=call.hot,
        rows=call.rows,
        recorded=call.recorded,
        layout=call.layout,
    )


def _inside(inside: int | None, peak_bytes: int) -> list[str]:
    if inside is None or inside == peak_bytes:
        return []
    return [
        f"memory is that of live tensors; with what kernels take and give back within a call it "
        f"peaks at {inside:,} bytes"
    ]


def _notes(device: Target, masked: int, unknown: Mapping[str, int], most: int) -> list[str]:
    notes = [
        "a multiply-accumulate counts 2, any other floating-point operation 1",
        "gradients are dropped at the start of a step, before its forward pass",
    ]
    if masked:
        notes.append(
            f"causal attention counts the pairs below the diagonal; {masked:,} operations above "
            "it are left out by the fused kernel and here"
        )
    if most == 0:
        notes.append("memory peaks in the first step, later ones hold less")
    if device == "cuda":
        notes.append("CUDA: the operators of the CPU with torch's optimizer defaults for CUDA")
    if unknown:
        left_out = ", ".join(f"{name} x {count}" for name, count in sorted(unknown.items()))
        notes.append(f"operators without a formula, whose operations are not counted: {left_out}")
    return notes
