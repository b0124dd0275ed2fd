"""Every error that a user can meet: what happened, why, and what to type.

Each class carries the exit code that the command line ends with. Messages are one
or two lines; the last sentence says what to do.
"""

from collections.abc import Iterable


class MicrodollarError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        exit_code: what the command line exits with (1 failed, 2 wrong usage,
            3 a check failed, 4 can't be estimated).

    Examples:
        >>> import microdollar as md
        >>> try:
        ...     md.load_model_spec("gpt-2-small")
        ... except md.MicrodollarError as error:
        ...     print(error.exit_code)
        2
    """

    exit_code = 1


class UsageError(MicrodollarError):
    """An argument, option or name that is not accepted."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A device, learner, price or corpus name that nobody knows.

    Args:
        kind: what was looked up, e.g. ``"device"``.
        name: the name as given.
        known: every accepted name.
        hint: what to type to see or add names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = nearest(name, names)
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        listed = f"Known: {', '.join(names[:12])}{more}."
        said = f"Did you mean {' or '.join(near)}?" if near else listed
        super().__init__(f"unknown {kind} {name!r}. {said}{' ' + hint if hint else ''}")
        self.kind, self.name, self.nearest = kind, name, near


class SpecError(UsageError):
    """A model, plan or layout that can't be: the field, its value and what is accepted."""


class CorpusError(MicrodollarError):
    """Text to learn from or to score that is missing, empty, unreadable or too short."""


class ModelFileError(MicrodollarError):
    """A saved model that is truncated, foreign, hostile or can't be written."""


class BudgetError(MicrodollarError):
    """A budget of tokens that what must be kept already exceeds."""


class DeltaError(MicrodollarError):
    """A change of a concept model that is malformed, not finite or for another model."""


class JournalError(MicrodollarError):
    """A journal of a concept model that is corrupt, of another model or held by a writer.

    Args:
        message: what happened, why, and what to type.
        entry: index of the first entry that can't be used; None if all can.
    """

    def __init__(self, message: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class FederationError(MicrodollarError):
    """A server that refuses a client, stays away, or can't go on."""


class LedgerError(MicrodollarError):
    """A ledger that can't be opened, read or appended to."""


class MissingExtraError(MicrodollarError):
    """An optional dependency that is not installed.

    Args:
        package: the import that failed, or several with ", " between them.
        extra: the extra of this distribution that brings it, or several with commas.
        need: what it is needed for.
        command: what to type; None to install the extra.
    """

    def __init__(self, package: str, extra: str, need: str, command: str | None = None) -> None:
        typed = command or f"pip install 'microdollar[{extra}]'"
        verb = "are" if ", " in package else "is"
        super().__init__(f"{need} needs {package}, which {verb} not installed. Type: {typed}")
        self.package, self.extra = package, extra


class CheckFailedError(MicrodollarError):
    """A check that the user asked for and that did not hold."""

    exit_code = 3


class CannotEstimateError(MicrodollarError):
    """A cost that can't be predicted: a rate, a formula or a price is unknown."""

    exit_code = 4


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like ``name``, best first; empty if none is close."""
    import difflib  # when something went wrong, which it seldom does

    by_folded = {entry.casefold(): entry for entry in known}
    folded = name.casefold()
    close = difflib.get_close_matches(folded, by_folded, n=count, cutoff=0.5)
    # What was typed within a name, three letters or more, is a likelier start than a near miss.
    inside = [key for key in by_folded if folded and folded in key]
    found = [*inside, *close] if len(folded) >= 3 and folded not in by_folded else [*close, *inside]
    return [by_folded[key] for key in dict.fromkeys(found)][:count]
