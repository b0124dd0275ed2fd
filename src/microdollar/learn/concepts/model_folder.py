"""A concept model on disk: one folder, written whole, in which only the journal grows.

config.json     sizes, the encoder, how it was trained, hashes of the files that never change
journal         the parameters it was trained to, and every change since (``journal``)
learnt.txt      hashes of the articles that it was trained on, so that no score counts them
store.npz       concepts with their texts, to decode by retrieval; optional
encoder.npz     the encoder, if it was made from the training text; optional
stream.*        where learning from a stream stands; made by it, see ``stream``
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from microdollar.errors import ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.files import CONFIG_NAME, FORMAT, FORMAT_VERSION, read_config, whole_folder
from microdollar.learn.strict_json import bad, show

if TYPE_CHECKING:
    from microdollar.learn.concepts.corpus import Article

NETWORK = "concepts"
"""``network`` in the ``config.json``."""
JOURNAL, LEARNT = "journal", "learnt.txt"
STORE, ENCODER = "store.npz", "encoder.npz"
STREAM_STATE, STREAM_SOURCE, STREAM_RANKS = "stream.state", "stream.json", "stream.ranks"
STREAM_SEEN = "stream.seen"
NAMES = (
    CONFIG_NAME, JOURNAL, LEARNT, STORE, ENCODER,
    STREAM_STATE, STREAM_SOURCE, STREAM_RANKS, STREAM_SEEN,
)  # fmt: skip
HINT = "Train the model again, or name another folder."
_ARTICLE_DIGITS = 16
_HASH_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """Whose vectors the model was trained on."""

    name: str
    """As ``make_encoder`` takes it."""
    dim: int
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A folder that was found sound: ``write`` makes one, ``open`` checks one."""

    path: Path
    config: CoreConfig
    encoder: EncoderFacts
    training: Mapping[str, Any]
    """How it was trained, as JSON can hold it."""
    files: Mapping[str, str]
    """SHA-256 of each file that never changes, hexadecimal."""
    base: str
    """Hash of the journal's first entry."""

    @classmethod
    def write(
        cls,
        path: Path,
        params: Floats,
        config: CoreConfig,
        encoder: EncoderFacts,
        *,
        articles: "Iterable[Article]" = (),
        training: Mapping[str, Any] | None = None,
        parts: Mapping[str, Callable[[Path], None]] | None = None,
    ) -> Self:
        """Write a trained model, all or nothing; a trained model that is there is replaced.

        Args:
            path: of the folder.
            params: flat (n_params,), finite.
            config: their sizes.
            encoder: whose vectors it was trained on; ``dim`` must be the model's.
            articles: all that had a part in its training.
            training: facts to keep, as JSON can hold them.
            parts: what writes ``store.npz`` and ``encoder.npz``, by name.

        Raises:
            ModelFileError: if it can't be written, or holds something else.
            UsageError: if the encoder is of another size, or the model that is there has
                learned from a stream.
        """
        if encoder.dim != config.dim:
            raise UsageError(
                f"an encoder of {encoder.dim} numbers for a model of {config.dim}: use one size."
            )
        _refuse_to_forget(path)
        parts = parts or {}
        with whole_folder(path, names=NAMES) as fresh:
            for name, write in parts.items():
                write(fresh / name)
            lines = [f"{article_hash(article)}\n" for article in articles]
            (fresh / LEARNT).write_text("".join(lines), encoding="ascii")
            with Journal.create(
                fresh / JOURNAL, config, params, encoder=encoder.fingerprint
            ) as journal:
                base = journal.head.hash
            files = {name: _file_hash(fresh / name) for name in sorted({LEARNT, *parts})}
            facts = {
                "format": FORMAT, "format_version": FORMAT_VERSION, "network": NETWORK,
                "core": asdict(config), "encoder": asdict(encoder), "base": base, "files": files,
                "training": dict(training or {}),
            }  # fmt: skip
            text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
            (fresh / CONFIG_NAME).write_text(text, encoding="utf-8")
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a folder's facts and check the files that never change.

        Raises:
            ModelFileError: if something is missing, changed or foreign; it names the file.
        """
        path = Path(path)
        facts = read_config(path)
        where = path / CONFIG_NAME
        if facts["network"] != NETWORK:
            bad(where, f"network is {show(facts['network'])}, so it is no concept model", HINT)
        try:
            found = cls(
                path=path,
                config=CoreConfig(**facts["core"]),
                encoder=_encoder_facts(facts["encoder"]),
                training=dict(facts["training"]),
                files={name: str(value) for name, value in dict(facts["files"]).items()},
                base=str(facts["base"]),
            )
        except (KeyError, TypeError, ValueError, UsageError) as error:
            bad(where, f"unusable value ({type(error).__name__}: {show(str(error))})", HINT)
        if found.config.dim != found.encoder.dim or not set(found.files) <= {
            LEARNT,
            STORE,
            ENCODER,
        }:
            bad(where, "its sizes or files don't fit together", HINT)
        for name, stated in found.files.items():
            _require_hash(path / name, stated)
        return found

    @property
    def has_store(self) -> bool:
        """Whether texts are kept."""
        return STORE in self.files

    @property
    def has_encoder(self) -> bool:
        """Whether the encoder is in the folder."""
        return ENCODER in self.files

    @property
    def state(self) -> Path:
        """Of learning from a stream."""
        return self.path / STREAM_STATE

    def journal(self, *, write: bool = False) -> Journal:
        """The model's history; close it.

        Raises:
            JournalError: if it is damaged, or held by another writer.
            ModelFileError: if it is another model's.
        """
        journal = Journal.open(self.path / JOURNAL, encoder=self.encoder.fingerprint, write=write)
        if journal.entries[0].hash != self.base or journal.config != self.config:
            journal.close()
            bad(self.path / JOURNAL, "the history of another model", HINT)
        return journal

    def params(self) -> Floats:
        """The present parameters, (n_params,)."""
        with self.journal() as journal:
            return journal.restore()

    def learnt(self) -> frozenset[str]:
        """``article_hash`` of every article of its training and of streams that have ended."""
        seen = self.path / STREAM_SEEN
        texts = [self.path / LEARNT, *([seen] if seen.exists() else [])]
        return frozenset(word for path in texts for word in path.read_text("ascii").split())

    def add_seen(self, articles: "Iterable[str]") -> None:
        """Note articles of a stream that has ended, by ``article_hash``."""
        path = self.path / STREAM_SEEN
        known = path.read_text("ascii").split() if path.exists() else []
        with whole_file(path) as out:
            out.writelines(f"{each}\n" for each in dict.fromkeys([*known, *articles]))


def article_hash(article: "Article") -> str:
    """Of its sentences, hexadecimal: the same text is the same article under any title."""
    text = "\n".join(article.sentences).encode()
    return hashlib.sha256(text).hexdigest()[:_ARTICLE_DIGITS]


def _refuse_to_forget(path: Path) -> None:
    """What was learned on this device is nowhere else."""
    if not (path / JOURNAL).is_file():
        return
    with Journal.open(path / JOURNAL, write=False) as journal:
        learned = sum(entry.kind == "delta" for entry in journal.entries)
    if learned:
        raise UsageError(
            f"{path} holds a model that has learned {learned} changes since its training. "
            "Name a new folder, or delete this one yourself."
        )


def _encoder_facts(table: Mapping[str, Any]) -> EncoderFacts:
    facts = EncoderFacts(**table)
    if not (
        isinstance(facts.name, str) and isinstance(facts.fingerprint, str)
        and type(facts.dim) is int
    ):  # fmt: skip
        raise TypeError(f"an encoder that is {show(dict(table))}")
    return facts


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _require_hash(path: Path, stated: str) -> None:
    if not path.is_file():
        bad(path, "no such file, though the model was written with it", HINT)
    try:
        found = _file_hash(path)
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error
    if found != stated:
        bad(
            path,
            f"changed since the model was written ({found[:12]}..., was {stated[:12]}...)",
            HINT,
        )
