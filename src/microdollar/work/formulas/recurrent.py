"""Operations of recurrent cells over a sequence, as torch.nn.RNN, GRU and LSTM define them.

b sequences of s tokens, i inputs, z numbers of state, g gates (Elman 1, GRU 3, LSTM 4). Forward,
one layer: 2 b s g z (i + z). The products with the state can't be batched over time: they are s
small products of b rows each. A first state of zeros is multiplied too, as torch does.
"""

from typing import Literal

from microdollar.work.formulas.terms import Layer, Pass, Product, Term

Cell = Literal["elman", "gru", "lstm"]
GATES: dict[Cell, int] = {"elman": 1, "gru": 3, "lstm": 4}
CELL_FLOPS: dict[Cell, int] = {"elman": 2, "gru": 15, "lstm": 24}
"""Of one number of state and step: Elman an addition and a tanh; the gated ones an addition for
each gate, 4 for a sigmoid, 1 for a tanh and their combination (docs of torch.nn.GRU and LSTM)."""


def recurrent(
    *, batch: int, sequence: int, inputs: int, state: int, cell: Cell, one_hot_inputs: bool = False
) -> Layer:
    """One recurrent layer; it isn't split over devices.

    Args:
        batch: sequences side by side.
        sequence: steps.
        inputs: features of a token.
        state: width of the state.
        cell: which cell.
        one_hot_inputs: whether the inputs' product is a look-up in a table.
    """
    gates = GATES[cell] * state
    numbers = batch * sequence * state
    terms: list[Term] = []
    if not one_hot_inputs:
        terms.append(Product("input", batch * sequence, gates, inputs))
    terms.append(Product("recurrent", batch, gates, state, steps=sequence))
    flops, moved = CELL_FLOPS[cell], GATES[cell] + 2
    terms.append(
        Pass("cell", numbers, flops, moved, 2 * flops, 2 * moved, function="tanh", calls=sequence)
    )
    return tuple(terms)
