"""What of a document is no claim: names, premises, examples, page furniture, and why.

``left_out/DOCUMENT.toml`` holds tables ``[[left_out]]`` of ``text``, as it stands in the document,
and ``why``. Every other number of a document is a claim; the tests hold that.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from microdollar.errors import SpecError
from microdollar.spec.tables import build, require_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Words of a document that hold numbers and state nothing that can be right or wrong."""

    text: str
    why: str

    def __post_init__(self) -> None:
        if not self.text.strip() or not self.why.strip():
            raise SpecError("what is left out has a text and a reason.")


def left_out(document: str) -> tuple[LeftOut, ...]:
    """What is left out of a document; nothing if there is no such file.

    Raises:
        SpecError: if the file is not right.
    """
    path = files("microdollar.claims").joinpath("left_out", f"{document}.toml")
    if not path.is_file():
        return ()
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"left_out/{document}.toml: {error}") from error
    return tuple(
        build(LeftOut, dict(table), f"left_out/{document}.toml [{index}]")
        for index, table in enumerate(require_tables(tables.get("left_out", []), "left_out"))
    )
