"""What was typed into the form, and the plan that it describes; opens no file that it names."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlencode

from microdollar.errors import SpecError, UsageError
from microdollar.spec.blocks import model_from_table
from microdollar.spec.build import changed_plan, serving_plan, training_plan
from microdollar.spec.extends import KINDS
from microdollar.spec.hf import model_from_config
from microdollar.spec.hf.fields import MOST_LAYERS
from microdollar.spec.load import list_plans, load_plan, plan_from_table
from microdollar.spec.model import ModelSpec
from microdollar.spec.model_catalog import catalog_model
from microdollar.spec.plan import Plan
from microdollar.spec.training import ServingPlan, TrainingPlan
from microdollar.ui.fields import FIELDS, FLAGS, Field
from microdollar.units import parse_count

LayerPlan = TrainingPlan | ServingPlan
MOST_WORD = 200
"""Characters of a field other than the pasted text."""
MOST_TEXT = 50_000
"""Characters of the pasted text; a config.json has a few thousand."""

MOST_LINE, MOST_DOTS = 1000, 50
"""Characters and dots of a line of TOML: the time to read a dotted key grows with its square."""
MOST_MODELS = 16
"""Models of one plan."""
MOST_PARTS = 600
"""Blocks and layers in them of all models of a plan; equal ones count once."""

_OWN = ("source", "model", "text", "task", "device")
NAMES = (*_OWN, *(field.name for field in FIELDS))
"""Every field of a plan's form."""


class FieldError(UsageError):
    """A field of the form that can't be read.

    Args:
        name: of the field.
        message: what is wrong and what is accepted.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one plan as they were typed."""

    values: Mapping[str, str] = field(default_factory=dict)
    """By name; those left empty are not in it."""

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]], prefix: str = "") -> "Form":
        """Take the fields with a prefix; of a field sent twice the last counts."""
        names = {prefix + name: name for name in NAMES}
        typed = {names[key]: value.strip() for key, value in pairs if key in names}
        return cls({name: value for name, value in typed.items() if value})

    def __getitem__(self, name: str) -> str:
        """The value of a field, empty if there is none."""
        return self.values.get(name, "")

    @property
    def pasted(self) -> bool:
        """Whether the model is pasted, not named."""
        return self["source"] == "text"

    @property
    def serves(self) -> bool:
        """Whether the model is served, not trained."""
        return self["task"] == "serve"

    def asked(self) -> list[Field]:
        """The fields that were filled in and that the task has."""
        unasked = "generate" if not self.serves else ""
        return [
            field
            for field in FIELDS
            if field.name in self.values
            and field.name != unasked
            and (field.serving or not self.serves)
        ]

    def options(self) -> dict[str, Any]:
        """Values of ``asked`` as the options of a plan.

        Raises:
            FieldError: if one can't be read.
        """
        return {field.name: _parsed(field, self[field.name]) for field in self.asked()}

    @property
    def names_plan(self) -> bool:
        """Whether a plan of the package is named, which says itself what is left empty."""
        return not self.pasted and self["model"].casefold() in list_plans()

    def cleared(self) -> "Form":
        """The same model with every option left to it; a plan also has a device of its own."""
        of_a_plan = self.pasted or self.names_plan
        kept = [name for name in _OWN if name != "device" or not of_a_plan]
        return Form({name: self[name] for name in kept if self[name]})

    def query(self, prefix: str = "") -> str:
        """The same as the query of an address, without what is usual."""
        usual = {"source": "name", "task": "train"}
        kept = {name: self[name] for name in NAMES if self[name] not in ("", usual.get(name))}
        return urlencode({prefix + name: value for name, value in kept.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """A plan, and how the command line is told of it."""

    plan: LayerPlan
    argument: str
    """The first argument: a name of the catalog, or the file to keep the pasted text in."""
    pasted: bool
    given: tuple[tuple[str, str], ...]
    """Options of the command line and their values."""
    of_plan: bool
    """Whether it began as a plan, which says itself what is left empty, not as a model."""


def pick(form: Form) -> Picked:
    """The plan that a form describes.

    Raises:
        FieldError: if a field can't be read.
        UsageError: if a name is unknown, a text is no model, or a value can't be; paths are
            unknown names.
    """
    for name, value in form.values.items():
        most = MOST_TEXT if name == "text" else MOST_WORD
        if len(value) > most:
            raise FieldError(name, f"more than {most:,} characters.")
    options = form.options()
    given = [(FLAGS[name], form[name]) for name in options]
    device = form["device"]
    if device:
        given.insert(0, ("--device", device))
    found, argument = _pasted(form["text"]) if form.pasted else _named(form["model"])
    _require_small(found)
    if isinstance(found, ModelSpec):
        if not device:
            raise FieldError("device", "pick a device; only a plan has one of its own.")
        return Picked(
            plan=_plan(found, device, options, form),
            argument=argument,
            pasted=form.pasted,
            given=tuple(given),
            of_plan=False,
        )
    return Picked(
        plan=_changed(found, device, options, argument, form),
        argument=argument,
        pasted=form.pasted,
        given=tuple(given),
        of_plan=True,
    )


def _plan(model: ModelSpec, device: str, options: dict[str, Any], form: Form) -> LayerPlan:
    if not form.serves:
        return training_plan(model, device, options)
    if "generate" not in options:
        raise FieldError("generate", "give the tokens to generate, for example 200.")
    return serving_plan(model, device, options.pop("generate"), options)


def _changed(
    plan: LayerPlan, device: str, options: dict[str, Any], name: str, form: Form
) -> LayerPlan:
    if device:
        plan = replace(plan, device=device)
    if isinstance(plan, TrainingPlan):
        if form.serves:
            raise FieldError("task", f"the plan {name} trains its model. Choose Train.")
        return changed_plan(plan, options)
    if options:
        raise FieldError(
            next(iter(options)), f"the plan {name} serves its model: leave this empty."
        )
    return plan


def _named(name: str) -> tuple[ModelSpec | LayerPlan, str]:
    if not name:
        raise FieldError("model", "name a model, for example gpt2, or paste one.")
    if name.casefold() in list_plans():
        return _of_layers(load_plan(name.casefold()).plan), name.casefold()
    model = catalog_model(name)
    return model, model.name


def _pasted(text: str) -> tuple[ModelSpec | LayerPlan, str]:
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise FieldError("text", "paste a config.json, or the TOML of a model or a plan.")
    kind: Literal["JSON", "TOML"] = "JSON" if text.startswith("{") else "TOML"
    try:
        table = _table(text, kind)
    except RecursionError as error:
        raise FieldError("text", f"it is too deeply nested for a {kind} of a model.") from error
    except ValueError as error:
        said = str(error)[:MOST_WORD]
        if "integer string conversion" in said:
            said = "a number has too many digits"
        raise FieldError("text", f"it is neither JSON nor TOML. Read as {kind}: {said}.") from error
    if kind == "JSON":
        return model_from_config(table), "config.json"
    if {"extends", *KINDS} & table.keys():
        return _of_layers(plan_from_table(table, name="plan", files=False).plan), "plan.toml"
    return model_from_table(table.get("model", table), name="model", where="[model]"), "model.toml"


def _require_small(found: ModelSpec | LayerPlan) -> None:
    """An answer is to take a tenth of a second, whatever was pasted."""
    models = [found] if isinstance(found, ModelSpec) else [found.model]
    if isinstance(found, TrainingPlan):
        models += [other.model for other in found.others]
    blocks = [block for model in models for block in (*model.encoder, *model.blocks)]
    parts = sum(1 + len(block.mixers) for block in blocks)
    parts += sum(len(model.dense) + len(model.tables) for model in models)
    for model in models:
        if model.layers > MOST_LAYERS:
            raise SpecError(
                f"{model.layers:,} layers are too many for this page, at most {MOST_LAYERS:,}."
            )
    if len(models) > MOST_MODELS or parts > MOST_PARTS:
        raise SpecError(
            f"{len(models):,} models with {parts:,} different parts are too many for this page "
            f"({MOST_MODELS} and {MOST_PARTS}). Type: microdollar estimate FILE"
        )


def _table(text: str, kind: Literal["JSON", "TOML"]) -> dict[str, Any]:
    if kind == "TOML":
        import tomllib

        if any(len(line) > MOST_LINE or line.count(".") > MOST_DOTS for line in text.split("\n")):
            raise ValueError(f"a line has more than {MOST_LINE:,} characters or {MOST_DOTS} dots")
        return tomllib.loads(text)
    table: dict[str, Any] = json.loads(text)
    return table


def _of_layers(plan: Plan | LayerPlan) -> LayerPlan:
    if isinstance(plan, Plan):
        raise SpecError(
            f"the plan is of the learner {plan.learner!r:.60}, which this page can't show. "
            "Type: microdollar estimate FILE.toml"
        )
    return plan


def _parsed(field: Field, text: str) -> object:
    try:
        if field.kind == "number":
            return float(text)
        if field.kind in ("choice", "word"):
            return text
        number = parse_count(text)
    except ValueError as error:
        raise FieldError(field.name, f"{text[:60]!r} is not a number.") from error
    except UsageError as error:
        raise FieldError(field.name, str(error)) from error
    least = 0 if field.kind == "stage" else 1
    if number < least:
        raise FieldError(field.name, f"{text} is less than {least}.")
    return number
