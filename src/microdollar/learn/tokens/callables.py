"""A squeezer where frameworks expect one: LangChain's documents and runnables, LlamaIndex's nodes.

Neither library is imported; what they call has the names that they use (langchain-core 1.7,
llama-index-core 0.14). In LangChain a squeezer stands in a chain, ``prompt | squeezer`` or
``retriever | squeezer.compress_documents``; only ``ContextualCompressionRetriever`` insists on a
class of its own. In LlamaIndex it is one of the ``node_postprocessors``. The query is not looked
at: what is kept is the same for every question.
"""

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar, Unpack

from microdollar.errors import UsageError
from microdollar.learn.tokens.squeeze import Options, squeeze
from microdollar.learn.tokens.stream import squeeze_texts

Thing = TypeVar("Thing")


class Squeezer:
    """Squeezes texts, documents and nodes to one ratio.

    Args:
        ratio: part of the tokens to keep, of several documents together.
        options: as of ``squeeze``.

    Raises:
        BudgetError: when called, if the protected tokens alone exceed the budget.
        UsageError: for a ratio outside (0, 1] or an unknown name, at once.

    Examples:
        >>> Squeezer(0.5, scorer="position")("Keep it short. Do not ramble.")
        'Keep it short not'
    """

    def __init__(self, ratio: float, **options: Unpack[Options]) -> None:
        squeeze("", ratio, **options)  # finds what is wrong before the first text comes
        self.ratio, self.options = ratio, options

    def __call__(self, text: object) -> str:
        """What is left of a text, or of the text of a prompt."""
        return squeeze(_text_of(text), self.ratio, **self.options).text

    def invoke(self, input: object, config: object = None, **kwargs: object) -> str:
        """As a runnable of LangChain: what is left of a text, or of the text of a prompt."""
        return self(input)

    async def ainvoke(self, input: object, config: object = None, **kwargs: object) -> str:
        """``invoke`` in a thread."""
        return await asyncio.to_thread(self.invoke, input)

    def compress_documents(
        self, documents: Sequence[Thing], query: str = "", callbacks: object = None
    ) -> list[Thing]:
        """As a document compressor of LangChain: copies with ``page_content`` squeezed."""
        texts = [_get(document, "page_content") for document in documents]
        left = squeeze_texts(texts, self.ratio, **self.options)
        return [
            _with(document, "page_content", each.text)
            for document, each in zip(documents, left, strict=True)
        ]

    async def acompress_documents(
        self, documents: Sequence[Thing], query: str = "", callbacks: object = None
    ) -> list[Thing]:
        """``compress_documents`` in a thread."""
        return await asyncio.to_thread(self.compress_documents, documents, query)

    def postprocess_nodes(
        self, nodes: Sequence[Thing], query_bundle: object = None, query_str: str | None = None
    ) -> list[Thing]:
        """As a node postprocessor of LlamaIndex: copies whose node's ``text`` is squeezed."""
        inner = [_get(node, "node") for node in nodes]
        left = squeeze_texts([_get(node, "text") for node in inner], self.ratio, **self.options)
        return [
            _with(node, "node", _with(within, "text", each.text))
            for node, within, each in zip(nodes, inner, left, strict=True)
        ]

    async def apostprocess_nodes(
        self, nodes: Sequence[Thing], query_bundle: object = None, query_str: str | None = None
    ) -> list[Thing]:
        """``postprocess_nodes`` in a thread."""
        return await asyncio.to_thread(self.postprocess_nodes, nodes)


def _text_of(prompt: object) -> str:
    """The text itself, or that of a value that a prompt template gives."""
    if isinstance(prompt, str):
        return prompt
    found = getattr(prompt, "to_string", None)
    if not callable(found):
        raise UsageError(f"a {type(prompt).__name__} is no text. Give a string or a prompt.")
    return str(found())


def _get(thing: object, name: str) -> Any:  # noqa: ANN401
    try:
        return getattr(thing, name)
    except AttributeError:
        raise UsageError(
            f"a {type(thing).__name__} has no {name!r}. Give documents with page_content, or "
            "nodes with node.text."
        ) from None


def _with(thing: Thing, name: str, value: object) -> Thing:
    """A copy with another value of one attribute; the given one may be in use elsewhere."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{name: value})
    twin = copy.copy(thing)
    setattr(twin, name, value)
    return twin
