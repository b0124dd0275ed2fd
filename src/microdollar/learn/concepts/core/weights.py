"""A concept model in one file: sizes, the encoder it belongs to, parameters and their hash.

Layout: ``MAGIC``, the length of the header (4 bytes, little-endian), the header (JSON), and the
parameters (float32, little-endian). Nothing is allocated before the sizes have been compared
with the file's.
"""

import json
from dataclasses import asdict, dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from microdollar.errors import ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, fingerprint
from microdollar.learn.strict_json import bad, json_object, show

MAGIC = b"mdconcp1"
MAX_HEADER_BYTES = 2**16
HINT = "Train the model again, or name another file."


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What such a file holds."""

    config: CoreConfig
    params: Floats
    """(n_params,)."""
    encoder: str = ""
    """Fingerprint of the encoder whose vectors the model learned; empty if unknown."""


def save_weights(path: Path, weights: Weights) -> None:
    """Write a model, whole or not at all.

    Raises:
        ModelFileError: if it can't be written; what was there before is there.
        UsageError: if the parameters are not of the configuration.
    """
    header = json.dumps(
        {
            "config": asdict(weights.config),
            "encoder": weights.encoder,
            "fingerprint": fingerprint(weights.params, weights.config),
        }
    ).encode()
    try:
        with whole_file(path, "wb") as out:
            out.write(MAGIC + len(header).to_bytes(4, "little") + header)
            out.write(np.ascontiguousarray(weights.params, "<f4").data)
    except OSError as error:
        raise ModelFileError(
            f"can't write the model to {path}: {error.strerror or error}. "
            "Name a file on a disk with room that you may write to."
        ) from error


def load_weights(path: Path) -> Weights:
    """Read a model.

    Raises:
        ModelFileError: if it can't be read, or is truncated, changed or no such file.
    """
    try:
        with path.open("rb") as file:
            header = _header(path, file)
            config = _config(path, header.get("config"))
            size, wanted = path.stat().st_size - file.tell(), 4 * config.n_params
            if size != wanted:
                bad(path, f"{size} bytes of parameters, where {config} has {wanted}", HINT)
            params = np.frombuffer(file.read(wanted), "<f4").astype(np.float32)
    except OSError as error:
        raise ModelFileError(f"can't read the model {path}: {error.strerror or error}.") from error
    if len(params) != config.n_params or not np.isfinite(params).all():
        bad(path, "parameters that are not finite, or cut short", HINT)
    found = fingerprint(params, config)
    if found != header.get("fingerprint"):
        said = show(header.get("fingerprint"))
        bad(path, f"parameters of fingerprint {found[:16]}, where the header has {said}", HINT)
    encoder = header.get("encoder")
    if not isinstance(encoder, str):
        bad(path, f"encoder is {show(encoder)}, and should be a fingerprint", HINT)
    return Weights(config=config, params=params, encoder=encoder)


def _header(path: Path, file: BufferedReader) -> dict[str, Any]:
    start = file.read(len(MAGIC) + 4)
    if len(start) < len(MAGIC) + 4 or not start.startswith(MAGIC):
        bad(path, f"begins with {show(start[: len(MAGIC)])}, so it is no concept model", HINT)
    size = int.from_bytes(start[len(MAGIC) :], "little")
    if size > MAX_HEADER_BYTES:
        bad(path, f"a header of {size} bytes, where {MAX_HEADER_BYTES} are the most", HINT)
    raw = file.read(size)
    if len(raw) < size:
        bad(path, f"ends within its header, after {len(raw)} of {size} bytes", HINT)
    return json_object(path, raw, "the header")


def _config(path: Path, found: object) -> CoreConfig:
    names = {field.name for field in fields(CoreConfig)}
    if not isinstance(found, dict) or found.keys() != names:
        bad(path, f"config is {show(found)}, and should have {', '.join(sorted(names))}", HINT)
    try:
        return CoreConfig(**found)
    except (UsageError, TypeError) as error:
        bad(path, f"config can't be: {error}", HINT)
