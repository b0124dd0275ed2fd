"""Build a model of a text, save it, load it, score it on bytes that it never saw, and sample.

    python examples/build_score_sample.py [CORPUS]

CORPUS is a file, a folder, or a name that ``microdollar build`` knows. Its first nine tenths
are learnt from, the rest is held out.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import microdollar as md

CORPUS = sys.argv[1] if len(sys.argv) > 1 else "python-docs"


def main() -> None:
    """Everything that ``microdollar build``, ``score`` and ``sample`` do, from Python."""
    text = md.load_corpus(CORPUS).data
    cut = len(text) * 9 // 10
    train, test = text[:cut], text[cut:]

    with tempfile.TemporaryDirectory() as folder:
        md.learner("ngram").fit(train).save(Path(folder) / "model")
        model = md.load_model(Path(folder) / "model")

    print(f"{model.parameters:,} parameters from {len(train):,} bytes, no gradient taken")
    # Two numbers that are never mixed: the model as it was built, and one that goes on counting.
    print(f"frozen:   {model.bits_per_byte(test, context=train):.3f} bits per held-out byte")
    adaptive = model.adaptive_bits_per_byte(test, context=train)
    print(f"adaptive: {adaptive:.3f} bits per held-out byte")

    prompt = test[:40]
    chances = model.next_byte(prompt)
    best = int(np.argmax(chances))
    print(f"after {prompt.tobytes()!r}: {bytes([best])!r} with {chances[best]:.0%}")
    sample = model.sample(200, context=prompt, seed=1)
    print(sample.tobytes().decode("utf-8", errors="replace"))


if __name__ == "__main__":
    main()
