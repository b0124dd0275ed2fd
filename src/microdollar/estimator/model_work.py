"""What one device does in one optimizer step of a model, as operations that a roofline can price.

The device is one of the last pipeline stage (see ``model_pieces``), which has the head and
the loss. Products keep their real shapes after splitting; passes over arrays have the bytes of
the fewest kernels that can do them. Layers that are alike are one operation with ``repeats``.

Not here, because they aren't operations of one device: communication, the pipeline's bubble,
waiting for data. Not counted: casts of weights to the products' type, and biases.
"""

from microdollar.estimator.model_flops import FUSED_BACKWARD, again, executed, reads_input
from microdollar.estimator.model_layers import Piece, model_pieces
from microdollar.estimator.model_update import update_ops
from microdollar.spec.training import Precision, TrainingPlan, TrainSpec
from microdollar.work.formulas.terms import Pass, Product
from microdollar.work.ops import Op, Work

PRODUCT_BYTES: dict[Precision, int] = {
    "float32": 4,
    "tf32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8": 1,
}
"""Of one number that a product reads."""
PASS_BYTES: dict[Precision, int] = {
    "float32": 4,
    "tf32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8": 2,
}
"""Of one activation between products."""
UNCOUNTED = "integer operations (indices, routing, masks) have no formula for a model's layers"


def step_work(plan: TrainingPlan, *, threads: int = 1) -> Work:
    """The operations of one optimizer step on one device of the last pipeline stage.

    Forward, backward, recomputation, head and loss over all micro-steps, then the optimizer.
    Buffers are none: memory is estimated on its own.

    Args:
        plan: model, training and layout; ``plan.others`` are added with their passes, rounded
            to whole micro-batches.
        threads: threads that share each operation, on a CPU.
    """
    train, layout = plan.train, plan.layout
    pieces = model_pieces(
        plan.model,
        batch=train.micro_batch,
        sequence=train.sequence,
        target_sequence=train.target_sequence,
        lora=train.lora,
        layout=layout,
        dropout=train.dropout,
    )
    builder = _Builder(train, threads)
    for piece in pieces:
        builder.train(piece, plan.micro_steps)
    for other in plan.others:
        whole = round(plan.micro_steps * other.passes) or 1
        for piece in model_pieces(
            other.model,
            batch=train.micro_batch,
            sequence=train.sequence,
            target_sequence=train.target_sequence,
            layout=layout,
            dropout=train.dropout and other.trains,
        ):
            if other.trains:
                builder.train(piece, whole, prefix=f"{other.model.name}: ")
            else:
                builder.forward(piece, whole, prefix=f"{other.model.name}: ")
    ops = (*builder.ops, *update_ops(plan, threads))
    notes = ["the softmax inside a fused attention kernel overlaps its products"]
    if layout.pp > 1:
        notes.append("a device of the last pipeline stage, with the head and the loss")
    return Work(ops=ops, notes=tuple(notes), int_ops_uncounted=UNCOUNTED)


class _Builder:
    """Collects operations of one training run."""

    def __init__(self, train: TrainSpec, threads: int) -> None:
        self.ops: list[Op] = []
        self._train = train
        self._fused = train.attention == "fused"
        self._threads = threads
        self._wide = PRODUCT_BYTES[train.precision]
        self._narrow = PASS_BYTES[train.precision]

    def forward(self, piece: Piece, times: int, prefix: str = "") -> None:
        """The forward pass of all layers of a piece."""
        start = f"{prefix}{piece.name}: "
        for term in (*piece.layer, *piece.adapters):
            if isinstance(term, Product):
                self._product(start, term, piece.count * times)
            elif not (term.of_scores and self._fused):
                self._pass(start, term, piece.count * times)

    def train(self, piece: Piece, times: int, prefix: str = "") -> None:
        """Forward, backward and what is recomputed."""
        self.forward(piece, times, prefix)
        start = f"{prefix}{piece.name} backward: "
        once_more = f"{prefix}{piece.name} again: "
        for term in piece.layer:
            repeats = piece.count * times
            if isinstance(term, Pass):
                inside = term.of_scores and self._fused
                if not inside:
                    self._pass(start, term, repeats, backward=True)
                    if self._repeats_pass(piece, term):
                        self._pass(once_more, term, repeats)
                continue
            self._backward(start, term, piece, times, trains=not piece.frozen)
            if again(piece, term, self._train):
                self._product(once_more, term, repeats)
        for term in piece.adapters:
            if isinstance(term, Product):
                self._backward(start, term, piece, times, trains=True)
                if again(piece, term, self._train):
                    self._product(once_more, term, piece.count * times)

    def _repeats_pass(self, piece: Piece, term: Pass) -> bool:
        if self._train.recompute == "full":
            return piece.in_block
        return self._train.recompute == "selective" and term.of_scores

    def _product(self, start: str, term: Product, repeats: int) -> None:
        flops = executed(term, self._fused) // term.steps
        moved = term.numbers_moved
        if term.factor == "scores" and self._fused:
            # The square stays on chip: what moves is queries and keys, or values and answers.
            moved -= term.batch * term.m * (term.n if term.name == "scores" else term.k)
        shape = (term.m, term.n, term.k)
        self._matmul(f"{start}{term.name}", shape, flops, moved, repeats * term.steps)

    def _backward(
        self, start: str, term: Product, piece: Piece, times: int, *, trains: bool
    ) -> None:
        repeats, name = piece.count * times, f"{start}{term.name}"
        m, n, k, moved = term.m, term.n, term.k, term.numbers_moved
        flops = executed(term, self._fused) // term.steps
        if term.factor == "scores" and self._fused:
            # Read queries, keys, values, answers and their gradients; write three gradients.
            moved = 2 * (moved - term.batch * m * (n if term.name == "scores" else k))
            flops = flops * FUSED_BACKWARD[0] // FUSED_BACKWARD[1]
            self._matmul(name, (m, n, k), flops, moved, repeats)
            return
        if term.factor != "weights":
            self._matmul(name, (m, k, n), flops, moved, 2 * repeats * term.steps)
            return
        seeing = repeats - (piece.blind * times if reads_input(piece, term) else 0)
        if seeing:
            self._matmul(f"{name} inputs", (m, k, n), flops, moved, seeing * term.steps)
        if trains:
            # One product over all steps: gradients of weights don't wait for each other.
            whole = term.batch * (m * term.steps * (n + k) + n * k)
            self._matmul(
                f"{name} weights", (k, n, m * term.steps), flops * term.steps, whole, repeats
            )

    def _matmul(
        self, name: str, shape: tuple[int, int, int], flops: int, moved: int, repeats: int
    ) -> None:
        self.ops.append(
            Op(
                name=name,
                kind="matmul",
                repeats=repeats,
                flops=flops,
                bytes_moved=self._wide * moved,
                shape=shape,
                dtype=self._train.precision,
                runtime="torch",
                calls=1,
                threads=self._threads,
            )
        )

    def _pass(self, start: str, term: Pass, repeats: int, *, backward: bool = False) -> None:
        name = f"{start}{term.name}"
        flops = term.backward_flops if backward else term.flops
        moved = term.backward_moved if backward else term.moved
        calls = 1 if self._train.compiled else term.calls
        # What the forward pass evaluated is kept, or made again by additions and products alone.
        evaluated = 1 if term.function and not backward else 0
        if evaluated:
            # Apart from the arithmetic, since machines evaluate functions far more slowly.
            self.ops.append(
                Op(
                    name=name,
                    kind="transcendental",
                    repeats=repeats,
                    flops=term.numbers,
                    function=term.function,
                    shape=(term.numbers,),
                    runtime="torch",
                    threads=self._threads,
                )
            )
        arithmetic = (flops - evaluated) * term.numbers
        self.ops.append(
            Op(
                name=name,
                kind="elementwise" if arithmetic else "stream",
                repeats=repeats,
                flops=arithmetic,
                bytes_moved=round(moved * term.numbers * self._narrow),
                shape=(term.numbers,),
                runtime="torch",
                calls=calls,
                threads=self._threads,
            )
        )
