"""The user's own function for a probe: found by ``module:function`` or ``file.py:function``."""

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdollar.errors import MicrodollarError, MissingExtraError, UnknownNameError, UsageError
from microdollar.run.probe import Training

if TYPE_CHECKING:
    import torch

WANTED = "(module, inputs[, loss][, optimizer]) or a step, which is a function of no arguments"


@contextlib.contextmanager
def running(what: str) -> Iterator[None]:
    """Name the user's code, its exception and the line in whatever it raises.

    What it prints goes to standard error, because standard output carries the answer.

    Raises:
        MicrodollarError: instead of anything that is raised within, but for an interrupt.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except MicrodollarError:
        raise
    except (Exception, SystemExit) as error:
        said = (str(error).splitlines() or [""])[0][:200]
        lines = traceback.extract_tb(error.__traceback__)
        where = f" in {lines[-1].filename}, line {lines[-1].lineno}" if lines else ""
        raise MicrodollarError(
            f"{what} raised {type(error).__name__}: {said}{where}. "
            "For the whole traceback: microdollar --debug probe ..."
        ) from error


def load_function(target: str) -> Callable[[], Any]:
    """The function that ``target`` names; the current folder is searched, too.

    Raises:
        UsageError: if there is no such module, file or function.
        MicrodollarError: if importing it fails.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"{target!r} is not module:function or file.py:function")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part, None)
    if function is None:
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise UnknownNameError(f"function of {place}", name, known)
    if not callable(function):
        raise UsageError(f"{target} is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def _load_file(path: Path) -> object:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    with _searched(path.parent), running(f"importing {path}"):
        spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> object:
    with _searched(Path.cwd()), running(f"importing {name}"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise UsageError(
                f"there is no module {name!r}, here or among the installed ones. "
                "Type it as package.module:function, or as file.py:function"
            ) from error


@contextlib.contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Python's own ``-m`` searches the current folder; an installed command does not."""
    text = str(folder.resolve())
    if text not in sys.path:
        sys.path.insert(0, text)
    yield


def training_of(made: object) -> Training:
    """The step that a user's function described by what it returned.

    Raises:
        UsageError: if it is neither of the two forms.
        MissingExtraError: if torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "probing training steps") from error
    if callable(made) and not isinstance(made, torch.nn.Module):
        return Training(step=made)
    if not isinstance(made, tuple) or not 2 <= len(made) <= 4:
        raise UsageError(f"the function returned {type(made).__name__}; want {WANTED}")
    module, inputs, *more = made
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"the first of what it returned is {type(module).__name__}; want {WANTED}")
    loss, optimizer = None, None
    for each in more:
        if isinstance(each, torch.optim.Optimizer) or _is_optimizer_class(each):
            optimizer = each
        elif callable(each) and loss is None:
            loss = each
        elif callable(each):
            optimizer = each
        elif each is not None:
            raise UsageError(f"{type(each).__name__} is no loss and no optimizer; want {WANTED}")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer(module.parameters())
    evaluate = partial(_loss_of, module, inputs, loss)
    step = partial(_step, module, evaluate, optimizer)
    return Training(step=step, evaluate=partial(_without_gradients, module, evaluate))


def _is_optimizer_class(value: object) -> bool:
    import torch

    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer)


def _loss_of(
    module: "torch.nn.Module",
    inputs: Any,  # noqa: ANN401
    loss: Callable[[Any], Any] | None,
) -> "torch.Tensor":
    import torch
    from torch.utils._pytree import tree_leaves

    if isinstance(inputs, Mapping):
        output = module(**inputs)
    else:
        output = module(*inputs) if isinstance(inputs, tuple | list) else module(inputs)
    if loss is not None:
        value: torch.Tensor = loss(output)
        return value
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(own, torch.Tensor):
        return own
    for leaf in tree_leaves(output):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            return leaf.float().mean()
    raise UsageError("the module returns no array of floats: return a loss with it")


def _step(
    module: "torch.nn.Module",
    evaluate: Callable[[], "torch.Tensor"],
    optimizer: "torch.optim.Optimizer | None",
) -> None:
    module.zero_grad()
    evaluate().backward()  # type: ignore[no-untyped-call, unused-ignore]
    if optimizer is not None:
        optimizer.step()


def _without_gradients(module: "torch.nn.Module", evaluate: Callable[[], object]) -> None:
    import torch

    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            evaluate()
    finally:
        module.train(training)
