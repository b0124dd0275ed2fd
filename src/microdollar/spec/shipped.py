"""The plans that ship with the package; a list of names costs no more than a look at a folder."""

from pathlib import Path


def shipped_plans() -> dict[str, Path]:
    """File of each plan, by name."""
    folder = Path(__file__).parent / "catalog" / "plans"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}
