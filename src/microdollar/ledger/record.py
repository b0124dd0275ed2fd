"""One row of the ledger: a plan, what it was predicted to cost and what it did cost."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self

from microdollar.cost import Cost, Quantity
from microdollar.errors import LedgerError


def canonical(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, UTF-8 as it is.

    Raises:
        TypeError: if JSON can't hold it.
        ValueError: if it holds NaN, infinity or half a surrogate pair.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    text.encode("utf-8")
    return text


def utc(moment: str | datetime) -> str:
    """A moment in the form that sorts as text, e.g. ``2026-03-01T12:00:00.000000Z``.

    Args:
        moment: ISO 8601 with an offset or ``Z``, or an aware datetime.

    Raises:
        ValueError: if it is not a moment, or says no offset.
    """
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    if parsed.utcoffset() is None:
        raise ValueError(f"{moment!s} has no offset from UTC; append Z if it is in UTC")
    return parsed.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number or choice that was taken and not measured."""

    key: str
    """What it is, with its unit where it has one, e.g. ``price_dollars_per_hour``."""
    value: str | float | int | bool | None
    source: str
    """Where it is from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger keeps of one run. Dictionaries are kept as JSON keeps them."""

    learner: str
    plan: dict[str, Any]
    """As ``Plan.to_json`` gives it."""
    device: dict[str, Any]
    """As ``DeviceSpec.to_json`` gives it; its ``name`` is what rows are selected by."""
    predicted: Cost | None = None
    measured: Cost | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    """Quality by name, the unit in the name, e.g. ``test_bits_per_byte``."""
    score_reasons: dict[str, str] = field(default_factory=dict)
    """Why a score is None, or what a reader should know about it."""
    assumptions: tuple[Assumption, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    """Version of each package and of Python."""
    git: str | None = None
    """Commit of the code that ran, if it is known."""
    started_at: str = field(default_factory=lambda: utc(datetime.now(UTC)))
    """ISO 8601 with an offset; kept in UTC."""
    note: str | None = None
    id: int | None = field(default=None, compare=False)
    """Number of the row in its ledger; None before it is appended."""

    def __post_init__(self) -> None:
        if not self.learner:
            raise ValueError("a record needs the name of its learner")
        object.__setattr__(self, "started_at", utc(self.started_at))
        for name in ("plan", "device", "versions"):
            object.__setattr__(self, name, json.loads(canonical(getattr(self, name))))
        scores = {k: None if v is None else float(v) + 0.0 for k, v in self.scores.items()}
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "assumptions", tuple(self.assumptions))
        if len({assumption.key for assumption in self.assumptions}) != len(self.assumptions):
            raise ValueError("two assumptions have the same key")
        if unknown := set(self.score_reasons) - set(scores):
            raise ValueError(f"a reason for the score {min(unknown)!r}, which is not there")
        canonical(self.to_json())

    @property
    def device_name(self) -> str:
        """Name of the device; empty if it has none."""
        return str(self.device.get("name") or "")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary of everything but ``id``, which belongs to one ledger only."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "id"}
        plain["predicted"] = _cost_to_json(self.predicted)
        plain["measured"] = _cost_to_json(self.measured)
        plain["assumptions"] = [
            {"key": a.key, "value": a.value, "source": a.source} for a in self.assumptions
        ]
        return plain

    def content_hash(self) -> str:
        """SHA-256 over all of it but ``id``: equal content has an equal hash everywhere."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The inverse of ``to_json``, for data from strangers.

        Raises:
            LedgerError: naming the first key that is unknown, missing or has a wrong type.
        """
        if not isinstance(data, dict):
            raise LedgerError("a row must be a JSON object")
        names = {f.name for f in fields(cls)} - {"id"}
        if unknown := sorted(set(data) - names):
            raise LedgerError(f"unknown key {unknown[0][:60]!r}; known: {', '.join(sorted(names))}")
        if missing := [
            name for name in ("learner", "plan", "device", "started_at") if name not in data
        ]:
            raise LedgerError(f"key {missing[0]!r} is missing")
        values: dict[str, Any] = {name: _checked(name, data[name]) for name in data}
        try:
            for phase in ("predicted", "measured"):
                values[phase] = cost_from_json(values.get(phase))
            values["assumptions"] = tuple(Assumption(**a) for a in values.get("assumptions", ()))
            return cls(**values)
        except (TypeError, ValueError, OverflowError) as error:
            raise LedgerError(f"unusable row ({str(error)[:200]})") from error


_TEXT = (str,)
_OPTIONAL_TEXT = (str, type(None))
_NUMBER = (int, float, type(None))
_OBJECT = (dict,)
_OPTIONAL_OBJECT = (dict, type(None))
_TYPES: Mapping[str, tuple[type, ...]] = {
    "learner": _TEXT,
    "plan": _OBJECT,
    "device": _OBJECT,
    "predicted": _OPTIONAL_OBJECT,
    "measured": _OPTIONAL_OBJECT,
    "scores": _OBJECT,
    "score_reasons": _OBJECT,
    "assumptions": (list,),
    "versions": _OBJECT,
    "git": _OPTIONAL_TEXT,
    "started_at": _TEXT,
    "note": _OPTIONAL_TEXT,
}
_MEMBERS: Mapping[str, tuple[type, ...]] = {
    "scores": _NUMBER,
    "score_reasons": _TEXT,
    "versions": _TEXT,
    "predicted": _OBJECT,
    "measured": _OBJECT,
}
_QUANTITY: Mapping[str, tuple[type, ...]] = {
    "value": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "basis": _OPTIONAL_TEXT,
    "coverage": _NUMBER,
    "reason": _OPTIONAL_TEXT,
}


def _checked(name: str, value: Any) -> Any:  # noqa: ANN401
    """``value`` if it has the type that the key ``name`` wants, one level down included."""
    _want(name, value, _TYPES[name])
    if name in _MEMBERS and value is not None:
        for key, member in value.items():
            _want(f"{name}.{key}", member, _MEMBERS[name])
    if name in ("predicted", "measured") and value is not None:
        for key, quantity in value.items():
            for part, number in quantity.items():
                _want(f"{name}.{key}.{part}", number, _QUANTITY.get(part, ()))
    if name == "assumptions":
        for place, assumption in enumerate(value):
            _want(f"{name}[{place}]", assumption, _OBJECT)
            for key, member in assumption.items():
                kinds = (str, int, float, bool, type(None)) if key == "value" else _TEXT
                _want(f"{name}[{place}].{key}", member, kinds)
    return value


def _want(where: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise LedgerError(f"{where[:100]!r} has the wrong type ({type(value).__name__})")


def _cost_to_json(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    # The file keeps reals without a signed zero: 5 and 5.0, -0.0 and 0.0 are the same content.
    return {
        name: {
            k: v + 0.0 if isinstance(v, int | float) else v for k, v in quantity.to_json().items()
        }
        for name, quantity in cost.items()
    }


def cost_from_json(data: dict[str, Any] | None) -> Cost | None:
    """A cost; a quantity that was not recorded is missing, not zero."""
    if data is None:
        return None
    names = [f.name for f in fields(Cost)]
    if unknown := sorted(set(data) - set(names)):
        raise ValueError(f"unknown quantity {unknown[0]!r}")
    absent = Quantity.missing("not recorded")
    return Cost(
        **{name: Quantity.from_json(data[name]) if name in data else absent for name in names}
    )
