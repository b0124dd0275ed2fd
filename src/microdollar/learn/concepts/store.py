"""Concepts with their texts: decoding is finding the nearest of what is known, nothing more.

Search is exact, a piece of the store at a time, so that no more than a piece's scores are in
memory. Above ``INDEX_FROM`` concepts, and if faiss is installed, an index of small-world graphs
(Malkov and Yashunin 2020, arXiv:1603.09320) may be asked instead; it can miss neighbours.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import MissingExtraError, ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.concepts.sequences import Floats, Ints, require_unit_rows
from microdollar.learn.strict_json import bad, json_object

INDEX_FROM = 200_000
"""Concepts from which on ``index="auto"`` prefers an index."""
INDEXES = ("exact", "auto", "graph")
FORMAT = "microdollar-concepts"
FORMAT_VERSION = 1
_PIECE = 16_384
_NEIGHBOURS, _BUILD_WIDTH, _SEARCH_WIDTH = 32, 200, 128
"""Of the graph: edges a node, candidates when building and when searching."""


class ConceptStore:
    """Vectors, the text of each, and which encoder made them.

    Args:
        vectors: (n, dim), unit rows; n may be 0.
        texts: (n,).
        encoder_fingerprint: `Encoder.fingerprint` of what made them.
        index: ``exact``; ``graph``, always an index; ``auto``, an index from ``INDEX_FROM``
            concepts on where faiss is installed.

    Raises:
        UsageError: if vectors are not finite unit rows, or don't match the texts.
        MissingExtraError: for ``graph`` without faiss.
    """

    def __init__(
        self,
        vectors: Floats,
        texts: Sequence[str],
        encoder_fingerprint: str,
        *,
        index: str = "exact",
    ) -> None:
        if index not in INDEXES:
            raise UsageError(f"index is {index!r}; known: {', '.join(INDEXES)}.")
        rows = np.ascontiguousarray(vectors, np.float32)
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise UsageError(f"vectors have shape {np.shape(vectors)}, want (n, dim).")
        self.encoder_fingerprint = encoder_fingerprint
        self._index_kind = index
        self._index: Any = None
        self._vectors: Floats = np.empty((0, rows.shape[1]), np.float32)
        self._texts: list[str] = []
        self.add(rows, texts, encoder_fingerprint)
        if index == "graph":
            _faiss()

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def dim(self) -> int:
        """Of a concept."""
        return int(self._vectors.shape[1])

    @property
    def vectors(self) -> Floats:
        """(n, dim), not to be written to."""
        view = self._vectors.view()
        view.flags.writeable = False
        return view

    def text(self, row: int) -> str:
        """What a concept stands for."""
        return self._texts[row]

    def add(self, vectors: Floats, texts: Sequence[str], encoder_fingerprint: str) -> None:
        """Append concepts; all or none.

        Raises:
            UsageError: if another encoder made them, or they are not finite unit rows of this
                store's size, one for each text.
        """
        self.require_encoder(encoder_fingerprint)
        rows = self._checked(vectors)
        if len(rows) != len(texts):
            raise UsageError(f"{len(rows)} vectors for {len(texts)} texts.")
        self._vectors = np.concatenate([self._vectors, rows])
        self._texts += [str(text) for text in texts]
        self._index = None

    def require_encoder(self, encoder_fingerprint: str) -> None:
        """Raise unless this encoder made the store.

        Raises:
            UsageError: naming both fingerprints.
        """
        if encoder_fingerprint != self.encoder_fingerprint:
            raise UsageError(
                f"this store was made by the encoder {self.encoder_fingerprint[:12]}..., these "
                f"vectors by {encoder_fingerprint[:12]}... Encode the texts again."
            )

    def search(
        self, queries: Floats, k: int, exclude: Sequence[npt.ArrayLike] | None = None
    ) -> tuple[Ints, Floats]:
        """The k concepts most like each query, best first.

        Args:
            queries: (q, dim), unit rows.
            k: at least 1; no more than there are concepts.
            exclude: rows of the store not to be found, one array for each query. Equal
                concepts are in the order of their rows.

        Returns:
            Rows and cosines, both (q, k); where fewer than k are left, rows are -1 and
            cosines -inf.

        Raises:
            UsageError: if a shape or number can't be.
        """
        rows = self._checked(queries)
        if not 1 <= k <= max(1, len(self)):
            raise UsageError(f"k is {k}; the store has {len(self)} concepts.")
        shut = [np.unique(np.asarray(e, np.int64)) for e in exclude or [[]] * len(rows)]
        if len(shut) != len(rows):
            raise UsageError(f"{len(shut)} sets to exclude for {len(rows)} queries.")
        if any(len(e) and not (e[0] >= 0 and e[-1] < len(self)) for e in shut):
            raise UsageError(f"rows to exclude must be 0 to {len(self) - 1}.")
        wanted = min(len(self), k + max(map(len, shut), default=0))
        found, scores = self._nearest(rows, wanted)
        out = np.full((len(rows), k), -1, np.int64)
        out_scores = np.full((len(rows), k), -np.inf, np.float32)
        for i, without in enumerate(shut):
            keep = ~np.isin(found[i], without) & (found[i] >= 0)
            kept = found[i][keep][:k]
            out[i, : len(kept)] = kept
            out_scores[i, : len(kept)] = scores[i][keep][:k]
        return out, out_scores

    def _nearest(self, queries: Floats, k: int) -> tuple[Ints, Floats]:
        large = self._index_kind == "auto" and len(self) >= INDEX_FROM and _faiss(needed=False)
        if len(self) and len(queries) and (self._index_kind == "graph" or large):
            return self._from_graph(queries, k)
        rows = np.empty((len(queries), 0), np.int64)
        scores = np.empty((len(queries), 0), np.float32)
        for start in range(0, len(self), _PIECE):
            piece = queries @ self._vectors[start : start + _PIECE].T
            numbers = np.broadcast_to(np.arange(start, start + piece.shape[1]), piece.shape)
            scores = np.concatenate([scores, piece], axis=1)
            rows = np.concatenate([rows, numbers], axis=1)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores = np.take_along_axis(scores, best, axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
        return rows, scores

    def _from_graph(self, queries: Floats, k: int) -> tuple[Ints, Floats]:
        if self._index is None:
            faiss = _faiss()
            self._index = faiss.IndexHNSWFlat(self.dim, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = _BUILD_WIDTH
            self._index.add(self._vectors)
        self._index.hnsw.efSearch = max(_SEARCH_WIDTH, 2 * k)
        scores, rows = self._index.search(queries, k)
        return rows.astype(np.int64), scores

    def _checked(self, vectors: Floats) -> Floats:
        rows = np.ascontiguousarray(vectors, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise UsageError(f"vectors have shape {rows.shape}, want (n, {self.dim}).")
        require_unit_rows(rows)
        return rows

    def save(self, path: Path) -> None:
        """Write one npz file, whole or not at all.

        Raises:
            OSError: if it can't be written.
        """
        texts = "\0".join(text.replace("\0", " ") for text in self._texts).encode()
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "encoder": self.encoder_fingerprint,
            "concepts": len(self),
            "dim": self.dim,
            "sha256": _content_hash(self._vectors, texts),
        }
        with whole_file(path, "wb") as file:
            np.savez(
                file,
                header=np.frombuffer(json.dumps(header).encode(), np.uint8),
                vectors=self._vectors,
                texts=np.frombuffer(texts, np.uint8),
            )

    @classmethod
    def load(
        cls, path: Path, encoder_fingerprint: str | None = None, *, index: str = "exact"
    ) -> "ConceptStore":
        """Read what ``save`` wrote.

        Args:
            path: of the file.
            encoder_fingerprint: of the encoder that queries will come from; checked if given.
            index: as of the constructor.

        Raises:
            ModelFileError: if the file is missing, truncated, changed or of another format.
            UsageError: if another encoder made it.
        """
        hint = "Make the store again."
        try:
            # numpy would leave a file open that it can't read.
            with path.open("rb") as raw_file, np.load(raw_file, allow_pickle=False) as file:
                raw = {name: file[name] for name in ("header", "vectors", "texts")}
        except Exception as error:  # zipfile, zlib and numpy each have their own
            bad(path, f"can't be read as a concept store ({type(error).__name__})", hint)
        header = json_object(path, raw["header"].tobytes(), "the header")
        if header.get("format") != FORMAT or header.get("format_version") != FORMAT_VERSION:
            bad(path, "is no concept store of this version", hint)
        vectors, texts = raw["vectors"], raw["texts"].tobytes()
        if vectors.dtype != np.float32 or vectors.shape != (
            header.get("concepts"),
            header.get("dim"),
        ):
            bad(
                path, f"vectors are {vectors.dtype} {vectors.shape}, not what its header says", hint
            )
        if _content_hash(vectors, texts) != header.get("sha256"):
            bad(path, "content and hash differ", hint)
        split = texts.decode("utf-8", "replace").split("\0") if len(vectors) else []
        made_by = str(header.get("encoder"))
        try:
            store = cls(vectors, split, made_by, index=index)
        except UsageError as error:
            raise ModelFileError(f"{path}: {error} {hint}") from error
        if encoder_fingerprint is not None:
            store.require_encoder(encoder_fingerprint)
        return store


def _content_hash(vectors: Floats, texts: bytes) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update(texts)
    return digest.hexdigest()


def _faiss(*, needed: bool = True) -> Any:  # noqa: ANN401 (an optional library without types)
    try:
        import faiss
    except ModuleNotFoundError as error:
        if not needed:
            return None
        raise MissingExtraError("faiss", "concepts", "an index of concepts") from error
    return faiss
