"""What is kept for one parameter under given options, made new or compared with what there is."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim.exact import moment_dtype
from microdollar.learn.optim.layout import Matrix, matrix_of
from microdollar.learn.optim.momentum import State
from microdollar.learn.optim.options import SKETCH, Options, sketch_options
from microdollar.learn.optim.reference import new_state
from microdollar.learn.optim.shards import as_sharded, is_sharded, local_matrix
from microdollar.learn.optim.sketched import new_state as new_sketch_state

EXACT = ("fp32", "fp32")
"""The m_state and v_state with which a matrix is AdamW's, too."""


def coded_matrix(param: Tensor, options: Options) -> Matrix | None:
    """The matrix that ``param`` is seen as; None if its moments are exact."""
    if (options["m_state"], options["v_state"]) == EXACT:
        return None
    return _matrix(tuple(param.shape), options["exact_below"])


def is_sketched(options: Options) -> bool:
    """Whether a moment of the group's matrices is a sketch."""
    return SKETCH in (options["m_state"], options["v_state"])


def coded_names(options: Options) -> tuple[str, ...]:
    """Names of a matrix's state but for ``step``, in order."""
    tiny = Matrix(1, 1)
    return tuple(_coded(tiny, options, torch.device("meta")))


def fresh_state(param: Tensor, options: Options) -> State:
    """State of a parameter that has made no step, on its device."""
    # With the count there too, a step can be skipped without asking the device.
    state = {"step": torch.zeros((), dtype=_count_dtype(), device=param.device)}
    matrix = coded_matrix(param, options)
    if matrix is not None and is_sharded(param):
        if is_sketched(options):
            raise ValueError("sketches hash whole parameters, and this one is sharded.")
        rows = local_matrix(param, matrix)
        return state | as_sharded(_coded(rows, options, param.to_local().device), param, matrix)
    if matrix is not None:
        return state | _coded(matrix, options, param.device)
    for name in ("exp_avg", "exp_avg_sq"):
        state[name] = torch.zeros_like(
            param, dtype=moment_dtype(param), memory_format=torch.preserve_format
        )
    return state


def check_state(state: Mapping[str, Any], param: Tensor, name: str, options: Options) -> None:
    """Refuse a state that is not one of ``param`` under ``options``.

    Raises:
        ValueError: it names the parameter, what differs, and both values.
    """
    matrix = coded_matrix(param, options)
    if matrix is None:
        wanted = dict.fromkeys(("exp_avg", "exp_avg_sq"), (param.shape, moment_dtype(param)))
    else:
        kinds = options["m_state"], options["v_state"], options["compression"], options["seed"]
        wanted = _wanted(matrix, kinds, tuple(sorted((options["sketch"] or {}).items())))
    if state.keys() != {"step", *wanted}:
        raise ValueError(
            f"the state of {name} should hold {', '.join(('step', *wanted))} "
            f"(m_state={options['m_state']!r}, v_state={options['v_state']!r}, parameter of shape "
            f"{tuple(param.shape)}), and it holds {', '.join(map(str, state)) or 'nothing'}."
        )
    for key, (shape, dtype) in wanted.items():
        found = state[key]
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(
                f"{key} in the state of {name} should be {dtype} of shape {tuple(shape)} for a "
                f"parameter of shape {tuple(param.shape)}, and it is {found.dtype} of shape "
                f"{tuple(found.shape)}."
            )


@lru_cache(maxsize=4096)
def _matrix(shape: tuple[int, ...], exact_below: int) -> Matrix | None:
    return matrix_of(shape, exact_below=exact_below)


@lru_cache(maxsize=4096)
def _wanted(
    matrix: Matrix, kinds: tuple[Any, ...], sketch: tuple[tuple[str, Any], ...]
) -> dict[str, tuple[torch.Size, torch.dtype]]:
    m_state, v_state, compression, seed = kinds
    options = {
        "m_state": m_state, "v_state": v_state, "compression": compression, "seed": seed,
        "sketch": dict(sketch),
    }  # fmt: skip
    made = _coded(matrix, options, torch.device("meta"))
    return {key: (value.shape, value.dtype) for key, value in made.items()}


def _coded(matrix: Matrix, options: Options, device: torch.device) -> State:
    m_state, v_state = options["m_state"], options["v_state"]
    if is_sketched(options):
        return new_sketch_state(matrix, sketch_options(options), m_state, v_state, device)
    return new_state(matrix, m_state, v_state, device)


def _count_dtype() -> torch.dtype:
    """As torch's optimizers have it: float32 unless the default is float64."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
