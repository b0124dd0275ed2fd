"""Squeeze a prompt to an exact budget, in a chain of calls and as a stream.

    python examples/squeeze_prompt.py [FILE]

Nothing is downloaded and no model is needed; with one that ``microdollar tokens train`` made,
``make_scorer("policy", model=FOLDER)`` takes the place of the name of the scorer.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import microdollar as md
from microdollar.learn.tokens.callables import Squeezer
from microdollar.learn.tokens.price import dollars_of
from microdollar.learn.tokens.stream import squeeze_stream

PROMPT = """\
You are helping with invoice INV-2041. The customer wrote on 2024-05-06 that the parcel never \
arrived, and that they would not like to wait for much longer than they already have. Please look \
at https://example.org/track?id=2041 and answer them in a friendly tone, in about 80 words.
"""


def lines(text: str) -> Iterator[str]:
    """A text that comes bit by bit."""
    yield from text.splitlines(keepends=True)


def main() -> None:
    """Three ways to the same budget."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else PROMPT
    found = md.squeeze(text, 0.6, protect=[r"INV-\d+"])
    print(found.text)
    print(f"\n{found.kept} of {found.tokens} tokens, budget {found.budget}")
    saved = dollars_of(1_000_000 * (found.tokens - found.kept), 3)
    print(f"A million such prompts save ${saved:,.0f} at $3 a million tokens.")

    squeezer = Squeezer(0.6, protect=[r"INV-\d+"])  # LangChain: prompt | squeezer | model
    print("the same in a chain:", squeezer.invoke(text) == found.text)

    parts = squeeze_stream(lines(text), 0.6, protect=[r"INV-\d+"])
    print("the same as a stream:", "".join(parts) == found.text)


if __name__ == "__main__":
    main()
