"""Training steps of a module on fake tensors, one after the other, under a recorder."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from microdollar.errors import CannotEstimateError, UnknownNameError, UsageError
from microdollar.estimator.trace.fake_torch import FakeMode, fake_module, fake_tree
from microdollar.estimator.trace.recorder_torch import Recorder

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "sgd-momentum": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "adafactor": torch.optim.Adafactor,
    "rmsprop": torch.optim.RMSprop,
}
"""Optimizers that go by a name; the learning rate does not matter here."""

OutputUntil = Literal["loss", "step", "next"]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What the recorder heard, and where in its events the steps begin and end."""

    recorder: Recorder
    marks: tuple[int, ...]
    """Events before the first step, after it, after the second."""
    held: tuple[frozenset[int], ...]
    """Of each step: blocks that were live when its backward pass began."""
    notes: tuple[str, ...]


def record_steps(
    module: torch.nn.Module | Callable[[], torch.nn.Module],
    inputs: object,
    *,
    targets: object,
    loss: Callable[..., torch.Tensor] | None,
    optimizer: str | Callable[..., torch.optim.Optimizer] | None,
    autocast: str | None,
    recompute: Sequence[str],
    foreach: bool,
    output_until: OutputUntil,
) -> Recording:
    """Two steps of training; see ``microdollar.estimator.trace.trace``.

    Raises:
        CannotEstimateError: if an operator needs values or memory, or the module fails.
        UsageError: if an argument is not one that is accepted.
    """
    if autocast is not None and autocast not in DTYPES:
        raise UsageError(f"autocast={autocast!r} is not one of: {', '.join(DTYPES)}")
    if output_until not in get_args(OutputUntil):
        raise UsageError(f"output_until={output_until!r} is not one of: loss, step, next")
    make_optimizer = _optimizer(optimizer)
    mode = FakeMode()
    recorder = Recorder()
    marks, held = [], []
    with _quiet():
        fake = fake_module(module, mode)
        _checkpoint(fake, recompute)
        given, wanted = fake_tree((inputs, targets), mode)
        run = _Run(
            module=fake,
            inputs=given,
            targets=wanted,
            loss=fake_module(loss, mode) if isinstance(loss, torch.nn.Module) else loss,
            recorder=recorder,
            autocast=autocast,
            output_until=output_until,
        )
        with _explained(recorder, fake), mode, recorder:
            stepper = _stepper(make_optimizer, run.trained, foreach)
            for _ in range(2):
                recorder.calls.clear()
                recorder.unknown.clear()
                marks.append(len(recorder.storages.events))
                held.append(run.step(stepper))
            marks.append(len(recorder.storages.events))
    if recorder.stand_ins:
        run.notes.append("numbers that the optimizer reads from arrays are taken as 1")
    return Recording(
        recorder=recorder, marks=tuple(marks), held=tuple(held), notes=tuple(run.notes)
    )


@dataclass
class _Run:
    module: torch.nn.Module
    inputs: Any
    targets: Any
    loss: Callable[..., torch.Tensor] | None
    recorder: Recorder
    autocast: str | None
    output_until: OutputUntil

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.last: Any = None
        self.trained = [tensor for tensor in self.module.parameters() if tensor.requires_grad]
        storages = self.recorder.storages
        storages.label(self.module.parameters(), "parameters")
        storages.label(self.module.buffers(), "buffers of the module")
        storages.label(_tensors((self.inputs, self.targets)), "inputs")

    def step(self, optimizer: torch.optim.Optimizer | None) -> frozenset[int]:
        """One step as a training loop does it; blocks that are live when backward begins."""
        recorder, storages = self.recorder, self.recorder.storages
        recorder.phase = "forward"
        for tensor in (*self.trained, *_tensors(self.inputs)):
            tensor.grad = None  # of an input too: the next batch is another one
        with self._autocast():
            output = self._forward()
            self.last = None
            recorder.phase = "loss"
            value = self._loss(output)
        if self.output_until == "loss":
            del output
        elif self.output_until == "next":
            self.last = output
        held = frozenset(storages.live())
        if isinstance(value, torch.Tensor) and value.requires_grad:
            recorder.phase = "backward"
            value.backward()  # type: ignore[no-untyped-call, unused-ignore]
            storages.label(
                (tensor.grad for tensor in self.trained if tensor.grad is not None), "gradients"
            )
        recorder.phase = "optimizer"
        if optimizer is not None:
            optimizer.step()
            storages.label(_tensors(list(optimizer.state.values())), "optimizer state")
        return held

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=DTYPES[self.autocast])

    def _forward(self) -> Any:  # noqa: ANN401
        if isinstance(self.inputs, Mapping):
            return self.module(**self.inputs)
        if isinstance(self.inputs, (tuple, list)):
            return self.module(*self.inputs)
        return self.module(self.inputs)

    def _loss(self, output: Any) -> Any:  # noqa: ANN401
        if self.loss is not None:
            return self.loss(output) if self.targets is None else self.loss(output, self.targets)
        own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(own, torch.Tensor):
            self._say("loss: the one that the module returns")
            return own
        floats = [leaf for leaf in _tensors(output) if leaf.is_floating_point()]
        if not floats:
            raise UsageError("the module returns no array of floats: give loss=...")
        self._say("loss: none was given, the mean of the module's first output is taken")
        return floats[0].float().mean()

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _tensors(tree: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _optimizer(
    given: str | Callable[..., torch.optim.Optimizer] | None,
) -> Callable[..., torch.optim.Optimizer] | None:
    if not isinstance(given, str):
        return given
    if given.casefold() not in OPTIMIZERS:
        raise UnknownNameError(
            "optimizer", given, OPTIMIZERS, "A class or a function of the parameters will do too."
        )
    return OPTIMIZERS[given.casefold()]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What torch logs of an operator that fails is in the error that is raised."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # copy.deepcopy asks whether a tensor has memory; that it has none is what is wanted.
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
            yield
    finally:
        logger.setLevel(level)


def _stepper(
    make: Callable[..., torch.optim.Optimizer] | None,
    trained: list[torch.nn.Parameter],
    foreach: bool,
) -> torch.optim.Optimizer | None:
    if make is None or not trained:
        return None
    optimizer = make(trained)
    for group in optimizer.param_groups if foreach else ():
        # What torch chooses by itself for arrays on CUDA, where nothing was said.
        if group.get("foreach", False) is None and not group.get("fused"):
            group["foreach"] = True
    return optimizer


def _checkpoint(module: torch.nn.Module, patterns: Sequence[str]) -> None:
    """Make the submodules whose names match run again in the backward pass."""
    for pattern in patterns:
        found = [part for name, part in module.named_modules() if fnmatchcase(name, pattern)]
        if not found:
            known = ", ".join([name for name, _ in module.named_modules() if name][:8])
            raise UsageError(f"recompute={pattern!r} matches no submodule; there are: {known}")
        for part in found:
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)


@contextlib.contextmanager
def _explained(recorder: Recorder, module: torch.nn.Module) -> Iterator[None]:
    name = type(module).__name__
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        operator = getattr(error, "func", recorder.last_operator)
        raise CannotEstimateError(
            f"can't trace {name}: what {operator} gives depends on the numbers in its arrays "
            "(a Python branch on a tensor, .item(), or a selection by a mask), and a trace has "
            "only shapes. Measure real steps instead: microdollar probe"
        ) from error
    except UnsupportedOperatorException as error:
        raise CannotEstimateError(
            f"can't trace {name}: torch knows no shape rule for {recorder.last_operator}. "
            "Register a fake kernel for it, or measure real steps: microdollar probe"
        ) from error
    except (CannotEstimateError, UsageError):
        raise
    except Exception as error:
        raise CannotEstimateError(
            f"can't trace {name}: in its {recorder.phase} phase after {recorder.last_operator}: "
            f"{type(error).__name__}: {error}. Check that the example inputs suit the module, or "
            "measure real steps: microdollar probe"
        ) from error
