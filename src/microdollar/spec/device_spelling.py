"""The ways in which files of published runs write a device, as names of the catalog."""

import re
from dataclasses import dataclass
from functools import lru_cache

from microdollar.errors import UnknownNameError
from microdollar.spec.device_catalog import load_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """What a spelling stands for."""

    device: str | None
    """Name in the catalog; None if it has no such device."""
    missing: str | None = None
    """Why there is no device."""
    assumed: str | None = None
    """What was assumed where the spelling leaves it open."""


# Spelling, reduced by _key: catalog name, and what it leaves open.
_A100_80, _A100_40 = "NVIDIA A100 SXM 80GB", "NVIDIA A100 SXM 40GB"
_H100, _V100_32 = "NVIDIA H100 SXM", "NVIDIA V100 SXM2 32GB"
_SPELLINGS: dict[str, tuple[str, str | None]] = {
    "a100": (_A100_80, "A100: SXM with 80 GB"),
    "a100 80gb": (_A100_80, "A100-80GB: SXM"),
    "a100 40gb": (_A100_40, "A100-40GB: SXM"),
    "a100 sxm 80gb": (_A100_80, None),
    "a100 sxm 40gb": (_A100_40, None),
    "a100 sxm4 80gb": (_A100_80, None),
    "a100 sxm4 40gb": (_A100_40, None),
    "h100": (_H100, "H100: SXM with 80 GB"),
    "h100 80gb": (_H100, "H100-80GB: SXM"),
    "h100 sxm5 80gb": (_H100, None),
    "h100 sxm5": (_H100, None),
    "h100 96gb hbm2e 500w": (_H100, "H100 with 96 GB HBM2e and 500 W: the peaks of the SXM part"),
    "h100 nvl": ("NVIDIA H100 NVL", None),
    "h200 sxm": ("NVIDIA H200 SXM", None),
    "h800": ("NVIDIA H800 SXM", "H800: SXM"),
    "h800 sxm5": ("NVIDIA H800 SXM", None),
    "v100": (_V100_32, "V100: SXM2 with 32 GB"),
    "tesla v100 sxm2": (_V100_32, "V100: 32 GB"),
    "tesla v100 dgxs 32gb": (_V100_32, "V100 of a DGX Station: as SXM2"),
    "tesla v100 dgxs 16gb": ("NVIDIA V100 SXM2 16GB", "V100 of a DGX Station: as SXM2"),
    "geforce rtx 3090": ("NVIDIA RTX 3090", None),
    "geforce rtx 4090": ("NVIDIA RTX 4090", None),
    "radeon instinct mi250x": ("AMD Instinct MI250X", None),
    "amazon trainium1": ("AWS Trainium1 (chip)", None),
    "apple m2 16gb": ("Apple M2 (10-core GPU)", "M2: 10 GPU cores"),
}


@lru_cache(maxsize=4096)
def read_device(text: str) -> Spelling:
    """The device that a file means; never an error, for a row may name any machine.

    Spellings of the catalog itself are read as they are; those of ``published_runs.csv`` are
    known beside them. Two devices in one cell (``NVIDIA A100,NVIDIA P100``) are none.

    Examples:
        >>> read_device("NVIDIA A100 SXM4 80 GB").device
        'NVIDIA A100 SXM 80GB'
    """
    if not text.strip():
        return Spelling(device=None, missing="no device is named")
    if "," in text and _key(text) not in _SPELLINGS:
        names = {part.strip() for part in text.split(",")}
        if len(names) > 1 and not _is_catalog_name(text):
            return Spelling(device=None, missing="several kinds of device")
    known = _SPELLINGS.get(_key(text))
    if known is not None:
        return Spelling(device=known[0], assumed=known[1])
    for name in (text, _key(text).replace(" ", "-")):
        try:
            return Spelling(device=load_device(name).name)
        except UnknownNameError:
            continue
    return Spelling(device=None, missing=f"the catalog has no device {text.strip()[:60]!r}")


def _is_catalog_name(text: str) -> bool:
    try:
        load_device(text)
    except UnknownNameError:
        return False
    return True


def _key(text: str) -> str:
    words = text.casefold().replace("-", " ").replace("_", " ")
    words = re.sub(r"(\d+) (gb|w)\b", r"\1\2", re.sub(r"\s+", " ", words)).strip()
    return re.sub(r"^(nvidia|google) ", "", words)
