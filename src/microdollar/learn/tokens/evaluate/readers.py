"""Which documents are scored, and who reads them back: nobody who learnt from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microdollar.errors import CorpusError, ModelFileError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.files import CONFIG_NAME
from microdollar.learn.strict_json import json_object
from microdollar.learn.tokens.reconstruct.base import Reconstructor, make_reconstructor
from microdollar.learn.tokens.texts import Document, read_documents, split
from microdollar.learn.tokens.tokenizers import Words
from microdollar.learn.tokens.vocabulary import Vocabulary

_SNIFFED = 100_000
"""Bytes of a file that say whether it is a dump."""
_NETWORKS = {"infiller": "infiller", "counted-reconstructor": "counted"}
"""What the ``config.json`` of a reconstructor's folder says it is, and the name of that one."""
_SHORT_PIECE = 100
"""Words of a piece of texts that are too short for two of the usual size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Documents to score, and a reader for each."""

    documents: list[Document]
    readers: list[Reconstructor]
    learnt_from: str
    """What the readers learnt from, in words."""

    @property
    def reconstructor(self) -> dict[str, Any]:
        """Name of the reader, what it is given, and what it learnt from."""
        reader = self.readers[0]
        return {"name": reader.name, "given": reader.given, "learnt_from": self.learnt_from}


def unseen(paths: Sequence[str | Path]) -> tuple[list[Document], list[Document], list[Document]]:
    """Documents of texts: those of dumps to learn from, those to test on, and all plain ones.

    Pages of a dump are split by their titles, as training does. Plain texts are never trained on
    unless they were named, so all of their documents are given.

    Raises:
        CorpusError: if a text can't be read or is too short.
    """
    dumps = [path for path in paths if _is_dump(Path(path))]
    plain = [path for path in paths if path not in dumps]
    train: list[Document] = []
    test: list[Document] = []
    if dumps:
        parts = split(read_documents(dumps))
        train, test = list(parts.train), list(parts.test)
    others = read_documents(plain) if plain else []
    if len(others) == 1:
        others = read_documents(plain, piece_words=_SHORT_PIECE)
    return train, test, others


def counted(
    paths: Sequence[str | Path], *, limit: int | None = None, progress: Progress = silent
) -> Reading:
    """Documents, each read back by a counted reconstructor that learnt from others.

    Test pages of dumps by one that learnt from the training pages. Documents of plain texts by
    turns: one learnt from the even ones reads the odd ones, and the other way round.

    Args:
        paths: files, folders, or ``python-docs``.
        limit: score only so many documents, evenly spaced; all others are still learnt from.
        progress: told how far fitting is.

    Raises:
        CorpusError: if there is only one document, so nothing to learn from.
    """
    train, test, plain = unseen(paths)
    if len(plain) == 1:
        raise CorpusError(
            f"{plain[0].title!r} is one document: what is scored may not be learnt from. "
            "Give more text, or a --model."
        )
    documents, readers, words = [], [], []
    fits = 2 * bool(plain) + bool(train)
    if train:
        progress(0, fits, "counting")
        documents += test
        readers += [_fit(train)] * len(test)
        words.append(f"{len(train)} training pages")
    if plain:
        halves = []
        for half in range(2):
            progress(len(words) + half, fits, "counting")
            halves.append(_fit(plain[1 - half :: 2]))
        documents += plain
        readers += [halves[number % 2] for number in range(len(plain))]
        words.append(f"the other half of {len(plain)} documents")
    chosen = spaced(len(documents), limit)
    return Reading(
        documents=[documents[i] for i in chosen],
        readers=[readers[i] for i in chosen],
        learnt_from=" and ".join(words),
    )


def open_reading(
    paths: Sequence[str | Path],
    reconstructor: str | None = None,
    *,
    model: Path | None = None,
    held_out: bool = False,
    limit: int | None = None,
    progress: Progress = silent,
) -> Reading:
    """Documents to score and who reads them back.

    Args:
        paths: files, folders, or ``python-docs``.
        reconstructor: one of ``RECONSTRUCTORS`` or the folder of one. None: the infiller in the
            folder of the model, and ``counted`` without a model.
        model: what ``tokens train`` made.
        held_out: of plain texts too, score only what training on them leaves out to test.
        limit: score only so many documents, evenly spaced.
        progress: told how far fitting is.

    Raises:
        CorpusError: if a text can't be read or is too short.
        ModelFileError: if the folder holds no reconstructor, or a damaged one.
        UnknownNameError: if it is neither a name nor a folder.
        UsageError: if the infiller is asked for without a model.
    """
    name = reconstructor or ("counted" if model is None else "infiller")
    if name == "counted":
        return counted(paths, limit=limit, progress=progress)
    if name == "infiller":
        if model is None:
            raise UsageError("the infiller is a part of a model. Give its folder, or a --model.")
        if not (model / "infiller").is_dir():
            raise ModelFileError(
                f"{model} holds no infiller. Name who reads back: --reconstructor counted."
            )
        name = str(model / "infiller")
    reader = open_reader(name)
    learnt_from = f"the texts that {name} was trained on"
    _, test, plain = unseen(paths)
    every = [*test, *(split(plain).test if held_out and plain else plain)]
    documents = [every[i] for i in spaced(len(every), limit)]
    return Reading(documents=documents, readers=[reader] * len(documents), learnt_from=learnt_from)


def open_reader(name: str) -> Reconstructor:
    """A reconstructor that is trained already, by the folder of its model or its name.

    Raises:
        ModelFileError: if the folder holds none, or a damaged one.
        UnknownNameError: if it is neither a name nor a folder.
    """
    folder = Path(name)
    return make_reconstructor(_kind_of(folder) if folder.is_dir() else name, folder)


def spaced(n: int, limit: int | None) -> list[int]:
    """At most ``limit`` of n places, evenly spaced, from the first on."""
    wanted = n if limit is None else min(limit, n)
    return [number * n // wanted for number in range(wanted)]


def _kind_of(folder: Path) -> str:
    """Name of the reconstructor whose model a folder holds."""
    path = folder / CONFIG_NAME
    try:
        network = json_object(path, path.read_bytes(), "a reconstructor").get("network")
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error
    if network not in _NETWORKS:
        raise ModelFileError(
            f"{folder} holds no reconstructor. Name the folder of one: {', '.join(_NETWORKS)}."
        )
    return _NETWORKS[network]


def _fit(documents: Sequence[Document]) -> Reconstructor:
    from microdollar.learn.tokens.reconstruct.counted import CountedReconstructor

    cutter = Words()
    tokens = [cutter.tokenize(document.text) for document in documents]
    return CountedReconstructor.fit(tokens, Vocabulary.of(tokens))


def _is_dump(path: Path) -> bool:
    from microdollar.learn.concepts.wiki import is_dump

    if not path.is_file():
        return False
    with path.open("rb") as file:
        return is_dump(file.read(_SNIFFED).decode("utf-8", "replace"))
