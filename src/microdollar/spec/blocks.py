"""A model in our own terms, from a table: recurrent, linear-attention, state-space and any other.

    name = "tiny-rwkv"
    hidden = 64
    vocab = 256
    [[blocks]]
    count = 4
    mixers = [{ kind = "rwkv" }]
    feed_forward = { kind = "rwkv", inner = 256 }

A table with ``model_type`` is a Hugging Face config instead (``microdollar.spec.hf``); TOML
has no null, so ``sliding_window`` and ``q_lora_rank`` are 0 where a config says null. Other keys
are the fields of ``ModelSpec`` and its parts. A mixer has a ``kind``; attention's
``kv_heads`` are its ``heads`` and its ``head_dim`` is ``hidden / heads`` where left out, and
latent attention's queries are projected at full rank without a ``q_rank``. A feed-forward part
with ``experts`` is a mixture.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from microdollar.errors import SpecError
from microdollar.spec.hf import model_from_config
from microdollar.spec.model import (
    Attention,
    Block,
    Dense,
    FeedForward,
    LatentAttention,
    LinearAttention,
    Mixer,
    MixtureOfExperts,
    ModelSpec,
    Recurrent,
    Rwkv,
    StateSpace,
    Table,
)
from microdollar.spec.tables import build, require_table, require_tables, require_type

MIXERS: dict[str, type[Mixer]] = {
    "attention": Attention,
    "latent-attention": LatentAttention,
    "linear-attention": LinearAttention,
    "state-space": StateSpace,
    "rwkv": Rwkv,
    "recurrent": Recurrent,
}
"""By ``kind``: what mixes tokens."""


def model_from_table(table: object, *, name: str, where: str = "[model]") -> ModelSpec:
    """The model that a table describes, as a config or in blocks.

    Args:
        table: with ``model_type``, or with ``blocks`` or ``dense``.
        name: of the model, if the table has none.
        where: what the table is called in errors.

    Raises:
        SpecError: naming what is unknown, missing or can't be.
    """
    fields = dict(require_table(table, where))
    given = fields.pop("name", name)
    require_type(str, given, f"{where} name")
    if "model_type" in fields:
        return model_from_config(fields, name=given)
    if "blocks" not in fields and "dense" not in fields:
        raise SpecError(
            f"{where} describes no model. Give model_type and the fields of its config.json, "
            "or hidden and blocks."
        )
    hidden = fields.get("hidden")
    parts = {
        "blocks": _blocks(fields.pop("blocks", ()), hidden, f"{where} blocks"),
        "encoder": _blocks(fields.pop("encoder", ()), hidden, f"{where} encoder"),
        "dense": _parts(Dense, fields.pop("dense", ()), f"{where} dense"),
        "tables": _parts(Table, fields.pop("tables", ()), f"{where} tables"),
    }
    fields.setdefault("family", "blocks")
    return build(ModelSpec, fields, where, name=given, **parts)


def _blocks(value: object, hidden: object, where: str) -> tuple[Block, ...]:
    found = []
    for index, entry in enumerate(require_tables(value, where)):
        here = f"{where}[{index}]"
        fields = dict(entry)
        mixers = require_tables(fields.pop("mixers", ()), f"{here} mixers")
        feed_forward = fields.pop("feed_forward", None)
        fields.setdefault("count", 1)
        found.append(
            build(
                Block,
                fields,
                here,
                mixers=tuple(_mixer(mixer, hidden, f"{here} mixer") for mixer in mixers),
                feed_forward=_feed_forward(feed_forward, f"{here} feed_forward"),
            )
        )
    return tuple(found)


def _parts(cls: type[Any], value: object, where: str) -> tuple[Any, ...]:
    entries = enumerate(require_tables(value, where))
    return tuple(build(cls, entry, f"{where}[{index}]") for index, entry in entries)


def _mixer(table: Mapping[str, Any], hidden: object, where: str) -> Mixer:
    fields = dict(table)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in MIXERS:
        raise SpecError(f"{where} kind is {reprlib.repr(kind)}. Accepted: {', '.join(MIXERS)}.")
    if kind == "attention":
        heads = fields.get("heads")
        fields.setdefault("kv_heads", heads)
        if "head_dim" not in fields:
            whole = isinstance(heads, int) and isinstance(hidden, int) and heads > 0
            if not whole or hidden % heads:  # type: ignore[operator]
                raise SpecError(
                    f"{where} has no head_dim, and hidden {reprlib.repr(hidden)} is no multiple "
                    f"of heads {reprlib.repr(heads)}. Give head_dim."
                )
            fields["head_dim"] = hidden // heads  # type: ignore[operator]
    if kind == "latent-attention":
        fields.setdefault("q_rank", None)
    return build(MIXERS[kind], fields, where)


def _feed_forward(value: object, where: str) -> FeedForward | MixtureOfExperts | None:
    if value is None:
        return None
    fields = require_table(value, where)
    if "experts" in fields:
        return build(MixtureOfExperts, fields, where)
    return build(FeedForward, fields, where)
