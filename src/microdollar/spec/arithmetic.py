"""Sums as text, ``"312_500 * 3.496"``: read, checked and worked out over intervals.

Numbers, names, ``+ - * / **``, parentheses, ``log10`` and ``ceil``; nothing else is run.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from microdollar.errors import SpecError, nearest

_LONGEST = 300
"""Characters."""
_LONGEST_LIST = 40
"""Names in an error; of more only the nearest."""
_PAIRS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_FUNCTIONS: dict[str, Callable[[float], float]] = {"log10": math.log10, "ceil": math.ceil}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number of any sign, and the ends between which it lies."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> "Interval":
        """A number that is known exactly."""
        return cls(value=value, low=value, high=value)


def names_in(text: str) -> frozenset[str]:
    """Names that a sum asks for.

    Raises:
        SpecError: if the text is no sum.
    """
    tree = _parse(text)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return frozenset(node.id for node in found if id(node) not in called)


def evaluate(text: str, names: Mapping[str, Interval] | None = None) -> Interval:
    """The value of a sum, with the ends that the ends of its names allow.

    Ends are of independent names: a name that stands twice counts as two.

    Args:
        text: the sum.
        names: values of the names in it.

    Raises:
        SpecError: if it is no sum, has an unknown name, or its value is not finite.

    Examples:
        >>> evaluate("2 * 1024 * 12 * 4").value
        98304.0
    """
    try:
        found = _value(_parse(text).body, names or {}, text)
    except (ArithmeticError, ValueError) as error:
        raise SpecError(f"{text!r:.100} has no value: {error}.") from error
    if not all(math.isfinite(end) for end in (found.value, found.low, found.high)):
        raise SpecError(f"{text!r:.100} has no finite value.")
    return found


def _parse(text: str) -> ast.Expression:
    if len(text) > _LONGEST:
        raise SpecError(f"a sum of {len(text)} characters is too long, at most {_LONGEST}.")
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise SpecError(f"{text!r:.100} is no sum. Type for example: 312_500 * 3.496") from error


def _value(node: ast.expr, names: Mapping[str, Interval], text: str) -> Interval:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Interval.of(float(number))
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id=name):
            few = sorted(names) if len(names) <= _LONGEST_LIST else nearest(name, names)
            raise SpecError(
                f"{text!r:.100}: {name!r} is not known. Known: {', '.join(few) or '-'}."
            )
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            found = _value(inner, names, text)
            return Interval(value=-found.value, low=-found.high, high=-found.low)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _PAIRS:
            return _pair(_PAIRS[type(op)], _value(left, names, text), _value(right, names, text))
        case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _FUNCTIONS:
            found, function = _value(inner, names, text), _FUNCTIONS[name]
            return Interval(
                value=function(found.value), low=function(found.low), high=function(found.high)
            )
    raise SpecError(
        f"{text!r:.100} is no sum: only numbers, names, + - * / **, {' and '.join(_FUNCTIONS)}."
    )


def _pair(function: Callable[[float, float], float], left: Interval, right: Interval) -> Interval:
    """Every operation is monotone in both over positive numbers, so the ends are at corners."""
    corners = [function(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    return Interval(value=function(left.value, right.value), low=min(corners), high=max(corners))
