"""What is known of the training data before anything is learnt from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Size of a corpus, and the little of its shape that costs depend on.

    Raises:
        ValueError: if the size is negative.

    Examples:
        >>> import microdollar as md
        >>> md.DataSpec(bytes=1_000_000, name="enwik8").bytes
        1000000
    """

    bytes: int
    """Training bytes."""
    distinct_ngrams: tuple[int, ...] | None = None
    """Distinct strings of 1, 2, 3, ... bytes in it (index 0: length 1); None if not looked at."""
    name: str | None = None
    """What the user called it."""

    def __post_init__(self) -> None:
        if self.bytes < 0:
            raise ValueError(f"bytes must not be negative, got {self.bytes}")
