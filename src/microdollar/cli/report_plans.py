"""Plans of ``microdollar report --plan``, priced, with their memory for every optimizer."""

import shlex
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from microdollar.errors import MicrodollarError, UsageError

if TYPE_CHECKING:
    from microdollar.cli.progress import Bar
    from microdollar.estimator.training import TrainingEstimate
    from microdollar.report.checked import PlanCost
    from microdollar.spec.training import TrainingPlan


def plan_costs(texts: Iterable[str], bar: "Bar") -> "list[PlanCost]":
    """What each plan will cost, as the page takes it.

    Args:
        texts: what one types after ``microdollar estimate``: a plan, or a model with options.
        bar: told when this machine has to be measured first.

    Raises:
        UsageError: if one is no training plan.
    """
    from microdollar.report.checked import parse_plan

    return [parse_plan(_priced(text, bar)) for text in texts]


def _priced(text: str, bar: "Bar") -> dict[str, Any]:
    from microdollar.estimator.training import TrainingEstimate
    from microdollar.run.device import find_device
    from microdollar.run.estimate import estimate
    from microdollar.spec.training import TrainingPlan

    plan = _read(text)
    if not isinstance(plan, TrainingPlan):
        raise UsageError(f"--plan {text!r} trains no model of layers, so it has no such parts.")
    device = find_device(plan.device, calibrate_if_missing=True, progress=bar)
    result = estimate(plan, device=device)
    assert isinstance(result, TrainingEstimate)
    return {
        **result.to_json(),
        "plan": plan.model.name,
        "device_bytes": device.memory_bytes.value,
        "optimizers": _optimizers(plan, result),
    }


def _read(text: str) -> object:
    from microdollar.cli.estimate import estimate as command
    from microdollar.cli.plan_options import read_plan

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--plan {text!r}: {error}.") from error
    if not words:
        raise UsageError("--plan is empty. Type for example: --plan gpt2")
    try:
        given = command.make_context("--plan", words, resilient_parsing=False).params
    except click.ClickException as error:
        raise UsageError(f"--plan {text!r}: {error.format_message()}") from error
    except click.exceptions.Exit as error:
        raise UsageError(f"--plan {text!r} names no plan.") from error
    model, device = given.pop("model"), given.pop("device_name")
    others = (
        "generate", "learner_name", "train_bytes", "options", "explain", "claims", "list_models",
        "list_devices", "as_json",
    )  # fmt: skip
    for name in others:
        if given.pop(name):
            raise UsageError(f"--plan {text!r}: only what makes or changes a training plan.")
    return read_plan(model, device, given)


def _optimizers(plan: "TrainingPlan", result: "TrainingEstimate") -> list[dict[str, Any]]:
    """The plan's memory with every optimizer that can train it."""
    from microdollar.estimator.memory import training_memory
    from microdollar.spec.training import OPTIMIZERS

    found = []
    for name in OPTIMIZERS:
        try:
            other = replace(plan, train=replace(plan.train, optimizer=name))
            memory = training_memory(other, result.device)
        except MicrodollarError:
            continue  # this one can't train the plan, e.g. with adapters
        found.append(
            {
                "optimizer": name,
                "allocated": memory.allocated.to_json(),
                "breakdown": [asdict(part) for part in memory.breakdown],
            }
        )
    return found
