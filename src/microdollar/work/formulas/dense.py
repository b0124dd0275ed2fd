"""Operations of what stands between the layers: norms, look-ups, single products, head and loss."""

from microdollar.work.formulas.terms import DROPOUT, Layer, Pass, Product, split


def dense(*, name: str, rows: int, inputs: int, outputs: int) -> Layer:
    """One product of (rows, inputs) by (inputs, outputs): ``2 rows inputs outputs``."""
    return (Product(name, rows, outputs, inputs),)


def norm(*, tokens: int, hidden: int, bias: bool, name: str = "norm") -> Layer:
    """RMSNorm (arXiv:1910.07467, eq 4), or with ``bias`` LayerNorm (arXiv:1607.06450, eq 4).

    For each number 4 operations: square, sum, divide by the root, scale; LayerNorm's mean, its
    subtraction and the bias are 3 more. The backward pass is taken as twice that. LayerNorm is one
    kernel, an RMSNorm written out is five.
    """
    flops, calls = (7, 1) if bias else (4, 5)
    return (Pass(name, tokens * hidden, flops, 2, 2 * flops, 3, calls=calls),)


def residual(*, tokens: int, hidden: int) -> Layer:
    """The sum of a layer's answer and its input: 1 operation a number, backward 1 more."""
    return (Pass("residual sum", tokens * hidden, 1, 3, 1, 3),)


def dropout(*, tokens: int, hidden: int) -> Layer:
    """Dropout of a layer's answer: see ``DROPOUT``."""
    return (Pass("dropout", tokens * hidden, *DROPOUT),)


def lookup(*, tokens: int, width: int) -> Layer:
    """Rows of a table by index: no operation forward; backward one addition a number."""
    return (Pass("embedding", tokens * width, 0, 2, 1, 3),)


def head(*, tokens: int, width: int, vocab: int, tp: int = 1) -> Layer:
    """Logits over the vocabulary, ``2 tokens width vocab``, whether the matrix is tied or not."""
    return (Product("head", tokens, split(vocab, tp), width),)


def cross_entropy(*, tokens: int, vocab: int, tp: int = 1) -> Layer:
    """Softmax and the logarithm of the target's probability, over float32 logits.

    Forward 4 operations a logit (subtract, exp, sum, log or divide); backward 2 (softmax minus
    one-hot, scaled).
    """
    numbers = tokens * split(vocab, tp)
    return (Pass("cross-entropy", numbers, 4, 4, 2, 3, function="exp", calls=2),)
