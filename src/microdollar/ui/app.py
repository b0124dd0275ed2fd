"""The page as a web application: one form, its numbers, and two files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microdollar.errors import MicrodollarError, MissingExtraError, UnknownNameError
from microdollar.report.theme import COLOURS
from microdollar.run.device import THIS, find_device, has_calibration
from microdollar.run.estimate import estimate
from microdollar.ui.colours import PART_COLOURS
from microdollar.ui.fields import COUNT, LAYOUT, MORE, RUN, device_choices, model_names, stack_names
from microdollar.ui.form import FieldError, Form, pick
from microdollar.ui.guard import Guard
from microdollar.ui.view import View, make_view

if TYPE_CHECKING:
    from jinja2 import Environment

FIRST = {
    "model": "llama-3.2-1b",
    "device": "h100-sxm",
    "count": "8",
    "tokens": "20G",
    "sequence": "4096",
    "batch": "128",
    "micro_batch": "2",
    "zero": "1",
}
"""What the page shows before anything is typed."""
PREFIXES = ("", "b-")
"""Of the names of the first and the second plan's fields."""
LONGEST_LINK = 4000
"""Characters of an address that is still one to keep; beyond, there is none."""
_CLEAR = tuple(f"{prefix}clear" for prefix in PREFIXES)
_MOST_FIELDS = 200
_GROUPS = {
    "run": (COUNT, *RUN),
    "folded": (("Layout over devices", LAYOUT), ("More", MORE)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a plan has no numbers."""

    message: str
    prefix: str
    name: str = ""
    """Of the field, where it is one."""


def create_app(port: int, **guard: Any) -> Guard:  # noqa: ANN401
    """The page, for requests to ``port`` of this machine.

    Args:
        port: that the page is served at; a request to any other address is refused.
        **guard: options of ``microdollar.ui.guard.Guard``.

    Raises:
        MissingExtraError: if jinja2 is not installed.
    """
    _templates()
    static = {"ui.css": _style(), "ui.js": _read("static", "ui.js")}
    kinds = {"ui.css": "text/css", "ui.js": "text/javascript"}

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static:
            return Response("There is no such page.\n", 404, media_type="text/plain")
        return Response(static[name], media_type=kinds[name])

    routes = [
        Route("/", _page, methods=["GET", "POST"]),
        Route("/results", _results, methods=["POST"]),
        Route("/static/{name}", file),
    ]
    return Guard(Starlette(routes=routes), port, **guard)


async def _page(request: Request) -> Response:
    pairs = await _pairs(request)
    return await run_in_threadpool(_answer, pairs, sent=request.method == "POST")


async def _results(request: Request) -> Response:
    pairs = await _pairs(request)
    return await run_in_threadpool(_answer, pairs, whole=False)


async def _pairs(request: Request) -> list[tuple[str, str]] | None:
    """Names and values of the form; None if they are too many."""
    sent = await request.body() if request.method == "POST" else request.url.query.encode()
    try:
        return parse_qsl(
            sent.decode("utf-8", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        return None


def _answer(
    pairs: list[tuple[str, str]] | None, *, whole: bool = True, sent: bool = True
) -> Response:
    """The whole page, or only what it says of its plans."""
    if pairs is None:
        return Response("More fields than the form has.\n", 400, media_type="text/plain")
    typed = dict(pairs)
    forms, compare = _forms(pairs, typed)
    view, problems = _priced(forms)
    of_plan = [plan.of_plan for plan in view.plans] if view else [one.names_plan for one in forms]
    known: dict[str, Any] = {"view": view, "errors": problems, "link": _link(forms)}
    known["of_plan"] = of_plan
    if whole:
        known |= {"forms": forms, "compare": compare, "sent": sent, "groups": _GROUPS}
        known |= {"models": model_names(), "devices": _devices(), "stacks": stack_names()}
    template = _templates().get_template("page.html.j2" if whole else "results.html.j2")
    text = template.render(known)
    # JSON can hold half a character, which UTF-8 can't.
    body = text.encode("utf-8", "replace")
    return Response(body, 422 if any(problems) else 200, media_type="text/html")


def _forms(pairs: list[tuple[str, str]], typed: dict[str, str]) -> tuple[list[Form], bool]:
    forms = [Form.read(pairs, prefix) for prefix in PREFIXES]
    if not any(form.values for form in forms):
        forms[0] = Form(FIRST)
    compare, asked = typed.get("compare") == "on", typed.get("do", "")
    if asked in _CLEAR:
        forms[_CLEAR.index(asked)] = forms[_CLEAR.index(asked)].cleared()
    if asked == "compare":
        return [forms[0], forms[0]], True
    if asked == "single" or not compare:
        return forms[:1], False
    return (forms[::-1] if asked == "swap" else forms), True


def _priced(forms: Sequence[Form]) -> tuple[View | None, list[Problem | None]]:
    picked, estimates, problems = [], [], list[Problem | None]()
    for form, prefix in zip(forms, PREFIXES, strict=False):
        try:
            found = pick(form)
            device = find_device(
                found.plan.device, calibrate_if_missing=False, progress=lambda *_: None
            )
            priced = estimate(found.plan, device=device)
        except MicrodollarError as error:
            name = _field_of(error, form)
            problems.append(Problem(message=str(error), prefix=prefix, name=name))
            continue
        picked.append(found)
        estimates.append(priced)
        problems.append(None)
    if any(problems):
        return None, problems
    first, last = picked[0], picked[-1]
    if last.pasted and first.argument == last.argument and forms[0]["text"] != forms[-1]["text"]:
        # Two texts are kept in two files.
        picked[-1] = replace(last, argument=f"b-{last.argument}")
    return make_view(picked, estimates), problems


def _field_of(error: MicrodollarError, form: Form) -> str:
    """The field that an error is of; empty if it is of several, or of a pasted text's insides."""
    if isinstance(error, FieldError):
        return error.name
    if isinstance(error, UnknownNameError) and error.name == form[error.kind]:
        return error.kind
    return ""


def _link(forms: Sequence[Form]) -> str:
    parts = [form.query(prefix) for form, prefix in zip(forms, PREFIXES, strict=False)]
    if len(forms) > 1:
        parts.append("compare=on")
    link = f"/?{'&'.join(filter(None, parts))}"
    return link if len(link) <= LONGEST_LINK else ""


def _devices() -> tuple[tuple[str, str], ...]:
    here = ((THIS, "this machine"),) if has_calibration() else ()
    return (*here, *device_choices())


def _style() -> str:
    colours = (*COLOURS, *PART_COLOURS)
    light = "".join(f"--{colour.name}: {colour.light}; " for colour in colours)
    dark = "".join(f"--{colour.name}: {colour.dark}; " for colour in colours)
    scheme = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}"
    return f":root {{ {light}}}\n{scheme}\n{_read('static', 'ui.css')}"


def _read(*path: str) -> str:
    return files("microdollar.ui").joinpath(*path).read_text("utf-8")


@cache
def _templates() -> "Environment":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "ui", "the planner page") from error

    return Environment(
        loader=PackageLoader("microdollar.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
