"""What frameworks call: things of the shapes that LangChain and LlamaIndex have."""

import asyncio
from dataclasses import dataclass, field

import pytest

from microdollar.errors import BudgetError, UsageError
from microdollar.learn.tokens.callables import Squeezer

TEXT = "Keep it short. Do not ramble."


@dataclass
class Document:
    """As LangChain's: text and what is known of it."""

    page_content: str
    metadata: dict = field(default_factory=dict)


class Node:
    """As LlamaIndex's, which is no dataclass."""

    def __init__(self, text):
        self.text, self.id_ = text, "n1"


@dataclass
class NodeWithScore:
    """As LlamaIndex's."""

    node: Node
    score: float


class Prompt:
    """What a prompt template gives."""

    def to_string(self):
        return TEXT


def test_texts_and_prompts():
    squeezer = Squeezer(0.5, scorer="position")
    for given in (TEXT, Prompt()):
        assert squeezer(given) == squeezer.invoke(given, {"tags": []}) == "Keep it short not"
        assert asyncio.run(squeezer.ainvoke(given)) == "Keep it short not"
    with pytest.raises(UsageError, match="a list is no text"):
        squeezer.invoke([TEXT])


def test_documents_are_copied_and_share_a_budget():
    squeezer = Squeezer(0.5, scorer="position")
    given = [Document(TEXT, {"page": 1}), Document("Call 555 1234 now or never again please.")]
    for found in (
        squeezer.compress_documents(given, "a question", callbacks=None),
        asyncio.run(squeezer.acompress_documents(given, "a question")),
    ):
        assert [each.page_content for each in found] == [
            "Keep it short not",
            "Call 555 1234 now never",
        ]
        assert found[0].metadata == {"page": 1}
    assert given[0].page_content == TEXT
    assert squeezer.compress_documents([], "a question") == []
    with pytest.raises(UsageError, match="a str has no 'page_content'"):
        squeezer.compress_documents([TEXT], "a question")


def test_nodes_are_copied():
    squeezer = Squeezer(0.5, scorer="position")
    squeezer.callback_manager = None  # LlamaIndex sets it
    given = [NodeWithScore(Node(TEXT), 0.7)]
    for found in (
        squeezer.postprocess_nodes(given, query_bundle="a question"),
        asyncio.run(squeezer.apostprocess_nodes(given, query_str="a question")),
    ):
        assert (found[0].node.text, found[0].node.id_) == ("Keep it short not", "n1")
        assert found[0].score == 0.7
    assert given[0].node.text == TEXT


def test_what_is_wrong_shows_at_once():
    for options in ({"ratio": 0}, {"ratio": 0.5, "scorer": "nobody"}):
        with pytest.raises(UsageError):
            Squeezer(**options)
    with pytest.raises(BudgetError):
        Squeezer(0.1, scorer="position").compress_documents([Document("1 2 3")])
