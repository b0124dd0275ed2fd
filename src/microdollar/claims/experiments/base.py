"""What an experiment is, and what it is given."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.claims.record import Values
from microdollar.learn.base import Progress, silent

if TYPE_CHECKING:
    from microdollar.learn.corpus import Corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an experiment may use."""

    folder: Path | None = None
    """For its own parts, so that one that was stopped goes on; None for one that needs none."""
    corpus: "Corpus | None" = None
    """At least ``corpus_bytes`` of the experiment; None if it takes no data."""
    seed: int = 0
    progress: Progress = silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One thing that is computed or measured, for any number of claims."""

    name: str
    title: str
    """In words, for progress and for the record."""
    home: str
    """``module:function`` below this package; called with a ``Context``, gives values."""
    fast: bool = False
    """Whether it is run whenever claims are checked: a few seconds, the same numbers everywhere,
    no clock. The others are run by ``--run all`` and read from their record otherwise."""
    corpus_bytes: int = 0
    """Of enwik8 that it reads; 0 if it reads nothing."""
    minutes: float = 0.0
    """That it takes on two cores, roughly; to tell who waits."""
    version: int = 1
    """Counted up when its code changes what it gives."""

    def run(self, context: Context) -> Values:
        """Run it.

        Raises:
            MissingExtraError: if a package that it needs is not installed.
        """
        module, name = self.home.split(":")
        function: Callable[[Context], Values] = getattr(
            import_module(f"microdollar.claims.experiments.{module}"), name
        )
        return function(context)

    def key(self, context: Context) -> str:
        """What a kept record must have been made with to stand for this run."""
        # Of the bytes that it reads: the text may be longer, for another experiment.
        read = None if context.corpus is None else context.corpus.data[: self.corpus_bytes]
        data = "" if read is None else hashlib.sha256(read.tobytes()).hexdigest()
        text = f"{self.name} {self.version} {context.seed} {self.corpus_bytes} {data}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
