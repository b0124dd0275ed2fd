"""Everything public is documented, and its documentation is about what is there.

Public is each module, class, function, method and property of the package whose name has no
underscore in front, found in the source by griffe: nothing is imported but for the examples.
"""

import ast
import builtins
import doctest
import importlib
import logging
import re
from collections import defaultdict
from pathlib import Path

import griffe
import pytest
from griffe import DocstringSectionKind as Kind

import microdollar as md
from microdollar import errors

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE_ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.MicrodollarError)
}
EXPORTED = sorted(set(md.__all__) - {"__version__"})
HAVE_EXAMPLES = sorted(
    str(path.relative_to(SOURCE).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in (SOURCE / "microdollar").rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


class Said(logging.Handler):
    """What griffe says of docstrings that it can't make sense of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def package():
    return griffe.load(
        "microdollar", search_paths=[SOURCE], docstring_parser="google", allow_inspection=False
    )


@pytest.fixture(scope="module")
def everything(package):
    """Every public object below the package."""
    return list(public(package))


def public(parent):
    for member in parent.members.values():
        if member.is_alias or member.name.startswith("_"):
            continue
        if member.is_module or member.is_class or member.is_function or has(member, "property"):
            yield member
        if member.is_module or member.is_class:
            yield from public(member)


def has(member, label):
    return label in member.labels


def sections(member):
    """The sections of a docstring by their kind."""
    return {section.kind: section.value for section in member.docstring.parsed}


def parameters(member):
    return [one.name for one in member.parameters if one.name not in ("self", "cls")]


def is_command(member):
    """Whether its docstring is a help text of the command line."""
    return any(
        re.search(r"\.(command|group)\(|^click\.", str(one.value)) for one in member.decorators
    )


def functions(path):
    """The functions of a module, nested ones too, by name."""
    found = defaultdict(list)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name].append(node)
    return found


def raised(function):
    """Errors of the package that a function raises itself, by name."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    waiting, found = list(function.body), set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, inner):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(error).rpartition(".")[2])
        waiting += ast.iter_child_nodes(node)
    return found & set(PACKAGE_ERRORS)


def exported(package, name):
    """What the package exports under a name, where it is defined."""
    module, attribute = md._HOMES[name].split(":")
    found = package[module].members[attribute]
    return found.final_target if found.is_alias else found


def test_enough_was_found(everything):
    kinds = [member.kind.value for member in everything]
    assert kinds.count("module") > 600
    assert kinds.count("function") > 2000


def test_everything_has_a_docstring(everything):
    without = [member.path for member in everything if not member.has_docstring]
    assert without == []


def test_sections_can_be_read_and_name_what_is_there(everything):
    said, logger = Said(), logging.getLogger("griffe")
    logger.addHandler(said)
    try:
        for member in everything:
            member.docstring.parse("google")
    finally:
        logger.removeHandler(said)
    assert said.lines == []


def test_a_misspelt_parameter_would_be_said(tmp_path):
    (tmp_path / "wrong.py").write_text(
        'def f(rows: int) -> None:\n    """Do.\n\n    Args:\n        row: all.\n    """\n'
    )
    said, logger = Said(), logging.getLogger("griffe")
    logger.addHandler(said)
    try:
        griffe.load("wrong", search_paths=[tmp_path], allow_inspection=False)["f"].docstring.parse(
            "google"
        )
    finally:
        logger.removeHandler(said)
    assert any("'row' does not appear" in line for line in said.lines)


def test_arguments_are_documented_all_or_not_at_all(everything):
    lacking = {}
    for member in everything:
        if member.is_function and Kind.parameters in (found := sections(member)):
            named = {one.name.lstrip("*") for one in found[Kind.parameters]}
            if missing := set(parameters(member)) - named:
                lacking[member.path] = missing
    assert lacking == {}


def test_what_is_raised_is_documented(everything):
    lacking, trees = {}, {}
    for member in everything:
        if not member.is_function or is_command(member):
            continue
        if member.filepath not in trees:
            trees[member.filepath] = functions(member.filepath)
        node = next(
            one
            for one in trees[member.filepath][member.name]
            if member.lineno <= one.lineno <= member.endlineno
        )
        named = {str(one.annotation) for one in sections(member).get(Kind.raises, ())}
        covered = tuple(PACKAGE_ERRORS[name] for name in named & set(PACKAGE_ERRORS))
        if missing := {one for one in raised(node) if not issubclass(PACKAGE_ERRORS[one], covered)}:
            lacking[member.path] = missing
    assert lacking == {}


def test_errors_that_are_named_exist(everything):
    classes = {member.name for member in everything if member.is_class}
    unknown = {}
    for member in everything:
        for one in sections(member).get(Kind.raises, ()):
            first = str(one.annotation).partition(".")[0]
            if first not in classes and not hasattr(builtins, first):
                tree = ast.parse(member.filepath.read_text("utf-8"))
                imported = {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
                if first not in imported:
                    unknown[member.path] = str(one.annotation)
    assert unknown == {}


def test_examples_are_in_sections_of_their_own(everything):
    outside = [
        member.path
        for member in everything
        if ">>> " in member.docstring.value and Kind.examples not in sections(member)
    ]
    assert outside == []


def test_no_markup_of_another_tool(everything):
    of_sphinx = re.compile(r":(func|mod|class|meth|attr|data|exc):`")
    found = [member.path for member in everything if of_sphinx.search(member.docstring.value)]
    assert found == []


@pytest.mark.parametrize("name", EXPORTED)
def test_what_is_exported_is_documented_in_full(package, name):
    member = exported(package, name)
    found = sections(member)
    examples = doctest.DocTestParser().get_examples(member.docstring.value)
    assert examples, f"{name} has no example"
    if member.is_class:
        named = {one.name for one in found.get(Kind.parameters, ())}
        named |= {one.name for one in found.get(Kind.attributes, ())}
        bare = {
            one.name
            for one in member.members.values()
            if one.is_attribute and not one.name.startswith("_") and not one.has_docstring
        }
        assert bare <= named
        return
    assert {one.name.lstrip("*") for one in found[Kind.parameters]} == set(parameters(member))
    assert Kind.returns in found or Kind.yields in found
    assert Kind.raises in found


@pytest.mark.parametrize("module", HAVE_EXAMPLES)
def test_examples_give_what_they_say(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    failed, tried = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert tried > 0
    assert failed == 0
