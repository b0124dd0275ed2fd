"""Hugging Face configs as models: ``config.json`` in, ``ModelSpec`` out, nothing is downloaded.

Where a config leaves a field out, the default of ``transformers`` 5.23 for its family holds; the
sizes that every checkpoint has (width, layers, heads, vocabulary, inner width) have none.
"""

import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from microdollar.errors import SpecError, nearest
from microdollar.spec.hf import decoders, encoders, older, other
from microdollar.spec.hf.fields import Fields
from microdollar.spec.model import ModelSpec

__all__ = ["FAMILIES", "MOST_BYTES", "model_from_config", "read_config", "read_text"]

MOST_BYTES = 5_000_000
"""No config is larger; real ones have a few thousand bytes."""

FAMILIES: dict[str, Callable[[Fields, str], ModelSpec]] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "mixtral",
            "qwen2",
            "qwen2_moe",
            "qwen3",
            "qwen3_moe",
            "gemma",
            "gemma2",
            "gemma3_text",
            "phi3",
            "smollm3",
            "granite",
            "starcoder2",
        ),
        decoders.build,
    ),
    "gpt2": older.gpt2,
    "gpt_bigcode": older.gpt2,
    "gptj": older.gptj,
    "gpt_neox": older.gpt_neox,
    "bloom": older.bloom,
    "opt": older.opt,
    "mpt": older.mpt,
    "falcon": older.falcon,
    "deepseek_v2": other.deepseek,
    "deepseek_v3": other.deepseek,
    "rwkv": other.rwkv,
    "mamba": other.mamba,
    "bert": encoders.bert,
    "roberta": encoders.bert,
    "xlm-roberta": encoders.bert,
    "distilbert": encoders.distilbert,
    "t5": encoders.t5,
    "mt5": encoders.t5,
}
"""By ``model_type``: what builds the model."""


def model_from_config(config: Mapping[str, Any], *, name: str | None = None) -> ModelSpec:
    """The model that a Hugging Face config describes.

    Args:
        config: the fields of ``config.json``.
        name: of the model; its ``_name_or_path`` or ``model_type`` if None.

    Raises:
        SpecError: if the family is unknown, or a field is missing, contradictory or absurd;
            names the field, its value and what is accepted.

    Examples:
        >>> sizes = {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
        >>> model_from_config({"model_type": "gpt2", **sizes}).layers
        12
    """
    if not isinstance(config, Mapping):
        raise SpecError(f"a config is a table of fields, got {reprlib.repr(config)}.")
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecError(_unknown(family, config))
    given = name or config.get("_name_or_path")
    model = given if isinstance(given, str) and given else family
    return FAMILIES[family](Fields(config, family), model)


def read_config(path: str | Path, *, name: str | None = None) -> ModelSpec:
    """The model in a ``config.json``, or in a folder that has one.

    Raises:
        SpecError: if there is no such file, it is no JSON object, or no model
            (``model_from_config``).
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
    text = read_text(file)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise SpecError(f"{file} is not JSON: {reason}. Give the model's config.json.") from error
    try:
        return model_from_config(config, name=name or file.resolve().parent.name or None)
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from error


def read_text(file: Path) -> str:
    """The text of a small file.

    Raises:
        SpecError: if it can't be read, is no text or is larger than ``MOST_BYTES``.
    """
    try:
        if not file.is_file():
            raise SpecError(f"{file} is no file. Give a config.json, its folder or a TOML file.")
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SpecError(f"{file} is larger than {MOST_BYTES:,} bytes, so it is no config.")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise SpecError(f"{file} can't be read: {error}.") from error


def _unknown(family: object, config: Mapping[str, Any]) -> str:
    if isinstance(config.get("text_config"), Mapping):
        return (
            f"model_type {family!r} wraps a language model in text_config. "
            "Give that table as the config."
        )
    said = "has no model_type" if family is None else f"model_type {reprlib.repr(family)}"
    near = nearest(family, FAMILIES) if isinstance(family, str) else []
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"config {said}, which no formula covers.{hint} "
        f"Give one of {', '.join(sorted(FAMILIES))}; or a TOML model with blocks; "
        "or trace a torch module."
    )
