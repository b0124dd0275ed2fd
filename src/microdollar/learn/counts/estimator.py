"""The n-gram network with the interface of scikit-learn's density estimators.

It needs no scikit-learn: ``clone``, pipelines and searches ask for a convention, not for a
base class. A document is text (encoded as UTF-8) or bytes. Documents are independent: each
is scored without what came before it, and while learning a newline stands between two.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from microdollar.errors import CorpusError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.counts.ngram.model import NGramModel

Document = str | bytes


class NgramDensity:
    """Density of documents: log-likelihood in nats under an n-gram network from counts.

    Fitted attributes: ``model_`` (the network) and ``n_documents_``.

    Args:
        order: longest context in bytes, 0 to 255.
        per_byte: give log-likelihoods per byte, so that long and short documents compare; an
            empty document then has 0.

    Examples:
        >>> density = NgramDensity(order=3).fit(["to be or not to be"] * 50)
        >>> noise, text = density.score_samples(["qqzzyx", "to be "])
        >>> bool(text > noise)
        True
    """

    def __init__(self, order: int = 10, *, per_byte: bool = False) -> None:
        self.order = order
        self.per_byte = per_byte

    def fit(self, X: Iterable[Document], y: object = None) -> Self:
        """Count the documents. ``y`` is not used.

        Raises:
            UsageError: if ``X`` is a single text, holds what is no text, or order can't be.
            CorpusError: if there is no document.
        """
        import numpy as np

        from microdollar.learn.counts.ngram.learner import NGram

        learner = NGram(order=self.order)
        documents = [_encoded(document) for document in _each(X)]
        if not documents:
            raise CorpusError("there is no document to learn from. Give at least one.")
        text = np.frombuffer(bytearray(b"\n".join(documents)), np.uint8)
        self.model_: NGramModel = learner.fit(text)
        self.n_documents_ = len(documents)
        return self

    def score_samples(self, X: Iterable[Document]) -> "npt.NDArray[np.float64]":
        """Log-likelihood of each document, shape (n,), in nats (per byte if ``per_byte``).

        Raises:
            UsageError: if it was not fitted, or ``X`` is a single text or holds what is none.
        """
        import numpy as np

        model = self._fitted()
        out = []
        for document in _each(X):
            data = np.frombuffer(bytearray(_encoded(document)), np.uint8)
            bits = float(model.bits(data).sum())
            out.append(-bits * np.log(2) / (max(len(data), 1) if self.per_byte else 1))
        return np.array(out, np.float64)

    def score(self, X: Iterable[Document], y: object = None) -> float:
        """Sum of the log-likelihoods; their mean if ``per_byte``. ``y`` is not used.

        The sum is what scikit-learn's ``KernelDensity`` gives.

        Raises:
            UsageError: as ``score_samples``.
            CorpusError: if there is no document.
        """
        values = self.score_samples(X)
        if len(values) == 0:
            raise CorpusError("there is no document to score. Give at least one.")
        return float(values.mean() if self.per_byte else values.sum())

    def sample(
        self, n_samples: int = 1, random_state: int | None = None, *, length: int = 200
    ) -> list[bytes]:
        """Documents of ``length`` bytes that the network makes up; the same for the same state.

        Raises:
            UsageError: if it was not fitted.
        """
        import numpy as np

        model = self._fitted()
        seeds = np.random.default_rng(random_state).integers(0, 2**63 - 1, n_samples)
        start: ByteArray = np.frombuffer(bytearray(b"\n"), np.uint8)
        return [model.sample(length, context=start, seed=int(seed)).tobytes() for seed in seeds]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor; ``deep`` changes nothing, none is an estimator."""
        return {"order": self.order, "per_byte": self.per_byte}

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Set arguments of the constructor.

        Raises:
            ValueError: if there is no such argument, as scikit-learn expects.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"NgramDensity has no parameter {name!r}. Known: {list(known)}.")
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Asked by scikit-learn's ``check_is_fitted``."""
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Asked by scikit-learn 1.6 and later, and only by it: a density estimator of text."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="density_estimator",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"NgramDensity(order={self.order!r}, per_byte={self.per_byte!r})"

    def _fitted(self) -> "NGramModel":
        if not hasattr(self, "model_"):
            raise UsageError("this NgramDensity has not learnt yet. Call fit first.")
        return self.model_


def _each(X: Iterable[Document]) -> Sequence[object]:
    if isinstance(X, str | bytes):
        raise UsageError("X is a single text. Give a list of documents, for example [text].")
    return list(X)


def _encoded(document: object) -> bytes:
    if isinstance(document, str):
        return document.encode("utf-8", "surrogatepass")
    if isinstance(document, bytes | bytearray | memoryview):
        return bytes(document)
    raise UsageError(f"a document must be text or bytes, got {type(document).__name__}.")
