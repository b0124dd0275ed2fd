"""A static encoder: one vector a token, averaged; distilled from a transformer by model2vec.

Distilling passes every token of the vocabulary through the transformer once, keeps principal
components and weighs tokens by their rank (Tulkens and van Dongen 2024, model2vec). What it
makes is a folder that model2vec, too, can read; encoding here needs numpy, safetensors and
tokenizers, and neither torch nor model2vec.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microdollar.errors import MissingExtraError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.sequences import Floats

_TENSORS, _TOKENIZER = "model.safetensors", "tokenizer.json"
_BATCH = 1024


class StaticEncoder:
    """The mean of a sentence's token vectors, at unit length.

    Args:
        folder: as ``distil`` makes it, or any model2vec model with plain float vectors.

    Raises:
        MissingExtraError: without tokenizers or safetensors.
        UsageError: if the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tokenizers
            from safetensors import SafetensorError
            from safetensors.numpy import load
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                error.name or "tokenizers", "concepts", "a static encoder"
            ) from error
        try:
            raw = (folder / _TENSORS).read_bytes()
            stated = (folder / _TOKENIZER).read_bytes()
            tensors = load(raw)
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{folder} holds no static encoder: {error}.") from error
        vectors = tensors.get("embeddings")
        if not set(tensors) <= {"embeddings", "weights"} or vectors is None or vectors.ndim != 2:
            raise UsageError(
                f"{folder} has not only 'embeddings' and 'weights' of tokens: {sorted(tensors)}."
            )
        weights = tensors.get("weights", np.ones(len(vectors)))
        if weights.shape != (len(vectors),):
            raise UsageError(
                f"{folder} has {len(vectors)} vectors and weights of shape {weights.shape}."
            )
        self._vectors: Floats = (vectors * weights[:, None]).astype(np.float32)
        if not np.isfinite(self._vectors).all():
            raise UsageError(f"{folder} has vectors that are not finite.")
        self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(stated)
        if self._tokenizer.get_vocab_size() > len(self._vectors):
            raise UsageError(f"{folder} has fewer vectors than tokens.")
        self._tokenizer.no_padding()
        self.name = f"static {folder.name}"
        self.dim = self._vectors.shape[1]
        self.fingerprint = hashlib.sha256(raw + stated).hexdigest()

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim); a sentence without a known token is a row of zeros."""
        found = np.zeros((len(sentences), self.dim), np.float32)
        unknown = self._tokenizer.token_to_id("[UNK]")
        for start in range(0, len(sentences), _BATCH):
            some = list(sentences[start : start + _BATCH])
            for row, coded in enumerate(
                self._tokenizer.encode_batch_fast(some, add_special_tokens=False), start
            ):
                tokens = [token for token in coded.ids if token != unknown]
                if tokens:
                    found[row] = self._vectors[tokens].mean(axis=0)
            progress(start + len(some), len(sentences), "encoding")
        return unit(found)


def distil(source: Path, folder: Path, *, dims: int = 256) -> StaticEncoder:
    """Make a static encoder out of a transformer; minutes of one core for 30,000 tokens.

    Args:
        source: folder of a transformer, e.g. ``encoders.minilm_folder()``.
        folder: where to; must not hold anything else.
        dims: principal components that are kept, at most the transformer's width.

    Raises:
        MissingExtraError: without model2vec (with its distillation), torch or transformers.
        UsageError: if ``dims`` or ``folder`` can't be.
    """
    try:
        from model2vec.distill import distill_from_model
        from transformers import AutoModel, AutoTokenizer
    except (ModuleNotFoundError, ImportError) as error:
        raise MissingExtraError("model2vec", "concepts", "distilling an encoder") from error
    if folder.exists() and any(folder.iterdir()) and not (folder / _TENSORS).is_file():
        raise UsageError(f"{folder} holds something else. Name an empty folder or a new one.")
    model: Any = AutoModel.from_pretrained(source, local_files_only=True)
    width = int(model.config.hidden_size)
    if not 1 <= dims <= width:
        raise UsageError(f"dims is {dims}; {source.name} has 1 to {width} to keep.")
    made = distill_from_model(
        model,
        AutoTokenizer.from_pretrained(source, local_files_only=True),
        pca_dims=dims,
        device="cpu",
    )
    made.save_pretrained(str(folder))
    return StaticEncoder(folder)
