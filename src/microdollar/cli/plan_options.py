"""Options that make or change a plan, shared by ``estimate`` and ``search``."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from microdollar.cli.options import COUNT
from microdollar.errors import UsageError

if TYPE_CHECKING:
    from microdollar.spec import Plan, ServingPlan, TrainingPlan

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--plan", "plan_file", metavar="FILE", help="A TOML plan, or the name of one."),
    click.option("--count", type=COUNT, metavar="N", help="Devices."),
    click.option("--tokens", type=COUNT, metavar="T", help="Training tokens, e.g. 300G."),
    click.option("--batch", type=COUNT, metavar="B", help="Sequences of an optimizer step."),
    click.option("--micro-batch", type=COUNT, metavar="B", help="Sequences at once."),
    click.option("--seq", "sequence", type=COUNT, metavar="S", help="Tokens of a sequence."),
    click.option("--dtype", metavar="TYPE", help="fp32, tf32, bf16, fp16 or fp8."),
    click.option("--optimizer", metavar="NAME", help="adamw, collins, adamw-8bit, sgd, ..."),
    click.option("--recompute", metavar="HOW", help="none, selective or full."),
    click.option("--attention", metavar="HOW", help="fused (FlashAttention) or naive."),
    click.option("--lora", type=COUNT, metavar="RANK", help="Train adapters of this rank only."),
    click.option("--offload", metavar="WHAT", help="none, optimizer or all."),
    click.option("--zero", type=click.IntRange(0, 3), help="ZeRO stage; 3 is FSDP."),
    click.option("--tp", type=COUNT, metavar="N", help="Tensor-parallel degree."),
    click.option("--pp", type=COUNT, metavar="N", help="Pipeline stages."),
    click.option("--cp", type=COUNT, metavar="N", help="Context-parallel degree."),
    click.option("--dp", type=COUNT, metavar="N", help="Data-parallel degree."),
    click.option("--ep", type=COUNT, metavar="N", help="Expert-parallel degree."),
    click.option("--stack", metavar="NAME", help="Software, e.g. megatron-deepspeed."),
    click.option("--region", metavar="NAME", help="Power grid, for carbon."),
    click.option("--pue", type=float, metavar="X", help="Power of building over computers."),
)


def plan_options(command: Command) -> Command:
    """Add the options; their values arrive as keyword arguments, None where not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_plan(
    model: str | None, device: str | None, options: Mapping[str, Any], generate: int | None = None
) -> "Plan | TrainingPlan | ServingPlan":
    """The plan that a model's name, a plan file and options describe together.

    Args:
        model: a name of the catalog, a ``config.json``, or a plan (its name or its TOML file).
        device: as typed; None if not typed.
        options: of ``plan_options``; None where not typed.
        generate: tokens to generate, where the model is served and not trained.

    Raises:
        UsageError: if a name is unknown, or a value can't be.
    """
    from microdollar.spec.build import changed_plan, serving_plan, training_plan
    from microdollar.spec.model_catalog import load_model_spec
    from microdollar.spec.training import TrainingPlan

    given = {name: value for name, value in options.items() if value is not None}
    file = given.pop("plan_file", None)
    if file is None and model is not None and _is_plan(model):
        file, model = model, None
    if file is None:
        if model is None:
            raise UsageError("no model and no plan. Type for example: microdollar estimate gpt2")
        spec = load_model_spec(model)
        if generate is not None:
            return serving_plan(spec, "this" if device is None else device, generate, given)
        return training_plan(spec, "this" if device is None else device, given)
    from microdollar.spec.load import load_plan

    plan = load_plan(file).plan
    if device is not None:
        plan = replace(plan, device=device)
    if isinstance(plan, TrainingPlan) and generate is None:
        if model is not None:
            plan = replace(plan, model=load_model_spec(model))
        return changed_plan(plan, given)
    if given or model is not None or generate is not None:
        word = next(iter(given), "generate" if generate else "model").replace("_", "-")
        raise UsageError(f"--{word} can't change the plan {file}, which trains no model of layers.")
    return plan


def _is_plan(name: str) -> bool:
    """Whether a name is that of a plan: of the package, or a TOML file that is no model's."""
    from microdollar.spec.shipped import shipped_plans

    if name.strip().casefold() in shipped_plans():
        return True
    if not name.casefold().endswith(".toml"):
        return False
    from microdollar.spec.extends import KINDS
    from microdollar.spec.model_catalog import parse_toml

    return bool({"extends", *KINDS} & parse_toml(Path(name)).keys())
