"""Plans from TOML files: a model, a device, and how it is trained or served.

    model = "gpt2"                 # catalog name, path of a config.json or TOML, or a [model] table
    device = "a100-80gb"           # catalog name, or "this"
    count = 8                      # devices; tp * pp * cp * dp, and dp may be left out
    name = "small"                 # of the plan; the file's name if left out
    notes = "what a reader should know"
    stack = "megatron-deepspeed"   # stack, pue and region as in TrainingPlan
    pue = 1.1
    region = "FR"

    [train]                        # the fields of TrainSpec, and in place of some of them:
    sequence = 1024                # tokens of a sequence; 2,048 or the model's most if left out
    micro_batch = 4                # 1 if left out
    accumulation = 2               # in place of global_batch = dp * micro_batch * accumulation
    sequences = 50_000             # in place of tokens = sequences * epochs * sequence
    epochs = 3
    precision = "bf16"             # or bfloat16; what is usual on the device if left out
    lora = { rank = 16 }

    [layout]                       # the fields of Layout
    tp = 2

    [[others]]                     # more models of the same run
    model = "gpt2"
    trains = false
    passes = 1.0

    [serve]                        # in place of [train]: the fields of ServingPlan
    prompt_tokens = 1000
    new_tokens = 200

    [document]                     # what a document claims about this plan, kept beside it
    title = "..."
    source = "..."
    claims = [{ quantity = "seconds", value = 8.4, unit = "h", note = "..." }]

A ``[model]`` table is a config with ``model_type``, or has ``blocks``
(``microdollar.spec.blocks``). Plans that ship with the package are loaded by name.

A plan of one of this package's own learners has a learner in place of a model::

    learner = "rnn-bptt"
    device = "this"
    data = { bytes = 1_000_000 }
    options = { hidden = 128, epochs = 20 }

With ``extends = "rl-token-compression"`` (a plan of the package, or another TOML file) a plan
takes what it does not have itself from that one (``microdollar.spec.extends``). What claims
may say is in ``microdollar.spec.claims``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from microdollar.errors import SpecError, UnknownNameError
from microdollar.spec.blocks import model_from_table
from microdollar.spec.build import PRECISIONS, usual_precision, usual_sequence
from microdollar.spec.claims import Claim, read_claims
from microdollar.spec.device_catalog import load_device
from microdollar.spec.extends import KINDS, extended, is_path, refuse_files
from microdollar.spec.model import ModelSpec
from microdollar.spec.model_catalog import catalog_model, load_model_spec, parse_toml
from microdollar.spec.plan import Plan, learner_plan
from microdollar.spec.shipped import shipped_plans
from microdollar.spec.tables import build, require_keys, require_table, require_tables, require_type
from microdollar.spec.training import (
    Layout,
    Lora,
    OtherModel,
    ServingPlan,
    TrainingPlan,
    TrainSpec,
)

_PLAN_KEYS = ("stack", "pue", "region")
_OF_LAYERS = ("model", "count", "layout", "others", *_PLAN_KEYS)
_KEYS = ["device", "name", "notes", "document", *KINDS, "data", "options", *_OF_LAYERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan and what its file says beside it."""

    plan: Plan | TrainingPlan | ServingPlan
    name: str
    notes: str = ""
    title: str = ""
    """Of the document that the plan is from."""
    source: str = ""
    """Where in that document."""
    conclusion: str = ""
    """What we get instead, and why."""
    claims: tuple[Claim, ...] = ()


def load_plan(name_or_path: str | Path) -> PlanFile:
    """The plan in a TOML file, or the one of that name that ships with the package.

    Args:
        name_or_path: a name of ``microdollar estimate --list-models``, or a file.

    Returns:
        The plan, its name, and what the file says beside it.

    Raises:
        UnknownNameError: if there is neither such a file nor such a plan; also for a model or a
            device that no catalog knows.
        SpecError: if the file is no TOML, has an unknown key, or describes what can't be.

    Examples:
        >>> load_plan("rl-token-compression").plan.steps
        312500
    """
    shipped = shipped_plans()
    text, path = str(name_or_path), Path(name_or_path)
    path = shipped.get(text.strip().casefold(), path)
    if path.suffix.casefold() != ".toml":
        raise UnknownNameError("plan", text[:200], shipped, hint="Or give a TOML file.")
    return plan_from_table(parse_toml(path), name=path.stem, folder=path.parent)


def list_plans() -> tuple[str, ...]:
    """Names of the plans that ship with the package."""
    return tuple(shipped_plans())


def plan_from_table(
    table: object, *, name: str, folder: Path | None = None, files: bool = True
) -> PlanFile:
    """The plan that a table describes (the module says how).

    Args:
        table: as parsed from TOML.
        name: of the plan, if the table has none.
        folder: where relative paths of models start; the current one if None.
        files: whether it may name files; without, models are the catalog's or written out, and
            what it extends is a plan of the package, so that a stranger's text opens nothing.

    Raises:
        UnknownNameError: for a model or a device that no catalog knows.
        SpecError: naming the field, its value and what is accepted.
    """
    given = require_table(table, "the plan")
    if not files:
        refuse_files(given)
    top = extended(given, folder, shipped_plans())
    require_keys(top, _KEYS, "the plan")
    for key in ("name", "notes", "device", "learner"):
        require_type(str, top.get(key, ""), key)
    if sum(kind in top for kind in KINDS) != 1:
        raise SpecError("a plan has either [train], [serve] or learner, exactly one of them.")
    needed = "data" if "learner" in top else "model"
    for key in (needed, "device"):
        if key not in top:
            raise SpecError(f"the plan has no {key}. Needed: {needed}, device.")
    odd = _OF_LAYERS if "learner" in top else ("data", "options")
    if wrong := [key for key in odd if key in top]:
        kind = "learner" if "learner" in top else "model"
        raise SpecError(f"a plan with a {kind} has no {wrong[0]}.")
    if top["device"].strip().casefold() != "this":
        load_device(top["device"])
    plan = learner_plan(top) if "learner" in top else _of_layers(top, folder, files)
    document = require_table(top.get("document", {}), "[document]")
    return build(
        PlanFile,
        {key: value for key, value in document.items() if key != "claims"},
        "[document]",
        plan=plan,
        name=top.get("name", name),
        notes=top.get("notes", ""),
        claims=read_claims(document, folder),
    )


def _of_layers(
    top: Mapping[str, Any], folder: Path | None, files: bool
) -> TrainingPlan | ServingPlan:
    model, layout = _model(top["model"], "model", folder, files), _layout(top)
    if "train" in top:
        return _training(top, model, top["device"], layout, folder, files)
    return _serving(top, model, top["device"], layout)


def _model(value: object, where: str, folder: Path | None, files: bool) -> ModelSpec:
    if isinstance(value, Mapping):
        return model_from_table(value, name="model", where=f"[{where}]")
    if not isinstance(value, str):
        raise SpecError(f"{where} must be a name, a path or a table, got {value!r:.100}.")
    if not files:
        return catalog_model(value)
    # A path is relative to the plan's file; a bare name is the catalog's.
    if folder is not None and is_path(value):
        path = folder / value
        if path.is_file() or (path / "config.json").is_file():
            return load_model_spec(path)
    return load_model_spec(value)


def _layout(top: Mapping[str, Any]) -> Layout:
    """The layout; ``dp`` follows from the count where it is left out."""
    table, count = require_table(top.get("layout", {}), "[layout]"), top.get("count")
    require_type(int | None, count, "count")
    layout = build(Layout, table, "[layout]")
    if count is None:
        return layout
    rest = layout.tp * layout.pp * layout.cp
    if "dp" not in table:
        if count < 1 or count % rest:
            raise SpecError(f"count {count} is not a multiple of tp x pp x cp = {rest}.")
        return build(Layout, {**table, "dp": count // rest}, "[layout]")
    if layout.devices != count:
        raise SpecError(
            f"count {count} is not tp x pp x cp x dp = {layout.devices}. "
            "Leave dp out, or make them agree."
        )
    return layout


def _training(
    top: Mapping[str, Any],
    model: ModelSpec,
    device: str,
    layout: Layout,
    folder: Path | None,
    files: bool,
) -> TrainingPlan:
    fields = dict(require_table(top["train"], "[train]"))
    fields.setdefault("sequence", usual_sequence(model))
    fields.setdefault("micro_batch", 1)
    accumulation = _whole(fields.pop("accumulation", None), "accumulation")
    sequences = _whole(fields.pop("sequences", None), "sequences")
    epochs = fields.pop("epochs", None)
    for key in ("sequence", "micro_batch"):
        _whole(fields[key], key)
    batch = layout.dp * fields["micro_batch"] * (accumulation or 1)
    if accumulation and fields.get("global_batch", batch) != batch:
        raise SpecError(
            f"[train] global_batch {fields['global_batch']!r} is not dp x micro_batch x "
            f"accumulation = {batch}. Give one of the two."
        )
    fields.setdefault("global_batch", batch)
    if (tokens := _tokens(fields, sequences, epochs)) is not None:
        fields["tokens"] = tokens
    _name_precision(fields, device)
    given = {}
    if "lora" in fields:
        given["lora"] = build(Lora, fields.pop("lora"), "[train] lora")
    train = build(TrainSpec, fields, "[train]", **given)
    others = []
    for index, entry in enumerate(require_tables(top.get("others", []), "others")):
        rest = dict(entry)
        where = f"others[{index}]"
        other = _model(rest.pop("model", None), f"{where} model", folder, files)
        others.append(build(OtherModel, rest, where, model=other))
        if others[-1].passes <= 0:
            raise SpecError(f"{where} passes must be positive, got {others[-1].passes}.")
    return build(
        TrainingPlan,
        {key: top[key] for key in _PLAN_KEYS if key in top},
        "the plan",
        model=model,
        train=train,
        device=device,
        layout=layout,
        others=tuple(others),
    )


def _tokens(fields: Mapping[str, Any], sequences: int | None, epochs: object) -> float | None:
    """Tokens from sequences and epochs, None if neither is given."""
    require_type(float | None, epochs, "[train] epochs")
    if sequences is None:
        if epochs is not None:
            raise SpecError("[train] epochs need sequences, the data of one epoch.")
        return None
    if "tokens" in fields:
        raise SpecError("[train] has both tokens and sequences. Give one of the two.")
    passes = 1.0 if epochs is None else cast("float", epochs)
    tokens = float(sequences * fields["sequence"] * passes)
    if not (math.isfinite(tokens) and tokens > 0):
        raise SpecError(f"[train] epochs must be a positive number, got {epochs!r:.100}.")
    return tokens


def _serving(top: Mapping[str, Any], model: ModelSpec, device: str, layout: Layout) -> ServingPlan:
    for key in ("others", *_PLAN_KEYS):
        if key in top:
            raise SpecError(f"{key} is about training. A plan with [serve] has none.")
    fields = dict(require_table(top["serve"], "[serve]"))
    _name_precision(fields, device)
    return build(ServingPlan, fields, "[serve]", model=model, device=device, layout=layout)


def _name_precision(fields: dict[str, Any], device: str) -> None:
    given = fields.get("precision")
    if given is None:
        fields["precision"] = usual_precision(device)
    elif isinstance(given, str):
        fields["precision"] = PRECISIONS.get(given, given)


def _whole(value: object, key: str) -> int | None:
    require_type(int | None, value, f"[train] {key}")
    number = cast("int | None", value)
    if number is not None and not 1 <= number <= 2**53:
        raise SpecError(f"[train] {key} must be a whole number from 1, got {value!r:.100}.")
    return number
