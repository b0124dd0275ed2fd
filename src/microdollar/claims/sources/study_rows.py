"""Which numbers of the study the document prints, in words.

Every entry of :data:`~microdollar.learn.study.published.PUBLISHED` is the number of one row, one
of its other ways to come about (``also``), or that number again (``repeats``). Every sentence of
``COMPARISONS`` is a row.
"""

from dataclasses import dataclass

from microdollar.learn.study.rows import Measure

Key = tuple[str, str]
_UNITS: dict[Measure, str] = {"bits": "bits/byte", "share": "%"}
_SHARES = (
    ("construction", "document hash: codes right"),
    ("construction", "document hash: bytes right"),
    ("memory", "trained network: gradient decorrelation at d = 1"),
)
_STRETCH = ("memory", "trained network: stretch of a step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One printed number."""

    id: str
    """Without the document."""
    key: Key
    """Experiment and row of the study."""
    says: str
    section: str = ""
    """All places; that of the published number if empty."""
    note: str = ""
    """May name values in braces."""
    only: str = ""
    """What has to be so for the row of the study to be what is printed."""
    also: tuple[tuple[str, Key], ...] = ()
    """Other readings of the same number: what has to be so, and the row of the study."""
    repeats: tuple[Key, ...] = ()
    """Where the document prints the same number of the same thing again."""
    unknown: str = ""
    """Why ours is none of the same thing, and what it would take."""
    kept: tuple[str, str, Key] | None = None
    """Part of this package that keeps the promise, what its figure is, and its row of the study;
    the figure has to reach the printed number."""

    @property
    def measure(self) -> Measure:
        """What the number is of."""
        if self.key[0] == "weights":
            return "correlation"
        if self.key[1].endswith("distinct codes"):
            return "codes"
        if self.key in _SHARES:
            return "share"
        return "stretch" if self.key == _STRETCH else "bits"

    @property
    def unit(self) -> str:
        """Of the claim."""
        return _UNITS.get(self.measure, "")

    @property
    def trained(self) -> bool:
        """Whether the published weights enter it, so that ours can be other ones."""
        return self.key[0] in ("weights", "substitution", "dynamics") or "trained" in self.key[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence that says which of two is better."""

    id: str
    text: str
    """As in ``COMPARISONS``."""
    says: str
    section: str = ""
    note: str = ""


_OTHER_NETWORK = "Ours is another trained network of the same shape."
_FEATURES = (
    "the document does not say which eight features it calls semantic, and the program is not"
    " published; it takes their definition"
)

ROWS: tuple[Row, ...] = (
    Row(
        id="2/w-h-hebbian",
        key=("weights", "W_h by Hebbian covariance"),
        says="The temporal covariance of hidden units correlates with the trained recurrent weights"
        " (r over all 16,384)",
    ),
    Row(
        id="2/w-h-hebbian-large",
        key=("weights", "W_h by Hebbian covariance, |w| >= 3"),
        says="For recurrent weights of size 3 and more the correlation with covariance is higher"
        " (r)",
        note="No recurrent weight of our networks is that large, and none of the published one."
        " Over the largest 36 % of ours, r is"
        " {weights_w_h_by_hebbian_covariance_largest_36_1024_used:.2f} on 1,024 bytes and"
        " {weights_w_h_by_hebbian_covariance_largest_36_1000000_used:.2f} on 1,000,000.",
    ),
    Row(
        id="2/w-h-boolean-influence",
        key=("weights", "W_h by Boolean influence"),
        says="Which units flip which others predicts the trained recurrent weights (r)",
        note="The flips are computed through the trained weights that they predict: partly"
        " circular.",
    ),
    Row(
        id="2/w-h-sign-correlation",
        key=("weights", "W_h by sign correlation"),
        says="Agreement of signs from one step to the next predicts the trained recurrent weights"
        " (r)",
        note=_OTHER_NETWORK,
    ),
    Row(
        id="2/w-y-sign-split",
        key=("weights", "W_y by sign-split log-probability"),
        says="Log-probabilities of the next byte, split by a unit's sign, predict the trained"
        " output weights (r over all 32,768)",
        note=_OTHER_NETWORK,
    ),
    Row(
        id="2/w-x-pmi",
        key=("weights", "W_x by PMI"),
        says="Pointwise mutual information predicts the trained input weights (r over all 32,768)",
        note="It is computed through the trained output weights: partly circular.",
    ),
    Row(
        id="2/w-x-sign-conditioned",
        key=("weights", "W_x by sign-conditioned log-ratio"),
        says="Log-ratios of bytes given a unit's sign predict the trained input weights (r)",
        note="On 1,000,000 bytes, where few byte values are rare, it is"
        " {weights_w_x_by_sign_conditioned_log_ratio_1000000_used:.2f}.",
    ),
    Row(
        id="2/b-h-sign-log-odds",
        key=("weights", "b_h by sign log-odds"),
        says="The log-odds of a unit's sign predict its trained bias (r over 128)",
    ),
    Row(
        id="2/w-y-per-neuron",
        key=("weights", "W_y by neuron, mean |r|"),
        says="Neuron by neuron, the predicted output weights correlate with the trained ones (mean"
        " of |r|)",
    ),
    Row(
        id="2/w-x-per-neuron",
        key=("weights", "W_x by neuron, mean |r|"),
        says="Neuron by neuron, the predicted input weights correlate with the trained ones (mean"
        " of |r|)",
    ),
    Row(
        id="3/trained",
        key=("substitution", "trained"),
        section="3, 4, 5, 9",
        says="The network that 2 million gradient steps trained needs this many bits per byte",
        note="Section 10 of the same document has 0.079.",
    ),
    Row(
        id="3/b-h-hebbian",
        key=("substitution", "b_h Hebbian"),
        section="3, 9",
        says="With its hidden biases taken from statistics the trained network needs this many bits"
        " per byte",
        note="The number says little: ours starts from {substitution_trained_520_used:.2f} on 520"
        " bytes, not from 4.965, and is ruined.",
    ),
    Row(
        id="3/w-h-80-20",
        key=("substitution", "W_h 80/20"),
        section="3, 9",
        says="With a fifth of its recurrent weights' values taken from covariance the trained"
        " network needs this many bits per byte",
    ),
    Row(
        id="3/w-y-50-50",
        key=("substitution", "W_y 50/50"),
        section="3, 9",
        says="With half of its output weights' values taken from statistics the trained network"
        " needs this many bits per byte",
    ),
    Row(
        id="3/w-h-replaced",
        key=("substitution", "W_h Hebbian"),
        section="3, 9",
        says="With all recurrent weights taken from covariance the trained network needs this many"
        " bits per byte",
    ),
    Row(
        id="3/w-x-replaced",
        key=("substitution", "W_x Hebbian"),
        section="3, 9",
        says="With all input weights taken from statistics the trained network needs this many"
        " bits per byte",
    ),
    Row(
        id="3/all-hebbian",
        key=("substitution", "all Hebbian"),
        section="3, 9",
        says="With all matrices taken from statistics the network needs this many bits per byte",
        repeats=(("dynamics", "Hebbian dynamics, own W_y"),),
    ),
    Row(
        id="4/codes-right",
        key=("construction", "document hash: codes right"),
        says="After 16 steps every group of the shift register holds the code of its past byte"
        " (share of codes that are right, at the worst depth)",
    ),
    Row(
        id="4/bytes-known",
        key=("construction", "document hash: bytes right"),
        section="4, 7",
        says="Each group holds the exact identity of a past byte, with nothing lost (share of bytes"
        " that its code tells, at the worst depth)",
        note="The codes are right, but 170 codes can't name 256 bytes.",
        kept=(
            "learn.counts.satrnn, hash bijective",
            "bytes that the codes of a one-to-one hash tell, mean of 16 depths",
            ("memory", "shift register: bytes looked up, mean of 16 depths"),
        ),
    ),
    Row(
        id="5/log-ratio",
        key=("readouts", "log-ratio"),
        section="4, 5, 6, 8, 9",
        says="With every weight from counts (hash, shift register and a sum of log-ratios) the"
        " network needs this many bits per byte",
        note="Pseudo-count and scale are chosen on the bytes that are scored.",
        also=(
            ("with least-squares log-ratios", ("readouts", "least-squares log-ratio")),
            ("with naive Bayes on bytes in place of codes", ("readouts", "naive Bayes on bytes")),
        ),
        repeats=(("hashes", "mixed hash: log-ratio"),),
    ),
    Row(
        id="5/pseudo-inverse",
        key=("readouts", "pseudo-inverse"),
        section="5, 9",
        says="With output weights from a pseudo-inverse the constructed network needs this many"
        " bits per byte",
        note="Section 6b has 1.409 for the same.",
    ),
    Row(
        id="5/20-steps",
        key=("readouts", "pseudo-inverse + 20 gradient steps"),
        section="5, 9",
        says="After 20 Newton steps from the pseudo-inverse it needs this many bits per byte",
        only="with plain gradient steps, as in the published program",
        note="Newton steps give"
        " {readouts_pseudo_inverse_20_newton_steps_1024_used:.3f} on 1,024 bytes.",
        also=(("with Newton steps", ("readouts", "pseudo-inverse + 20 Newton steps")),),
    ),
    Row(
        id="5/sgd-from-pseudo-inverse",
        key=("readouts", "SGD from pseudo-inverse"),
        section="5, 9",
        says="After 500 passes of gradient descent from the pseudo-inverse it needs this many bits"
        " per byte",
    ),
    Row(
        id="5/sgd-from-zero",
        key=("readouts", "SGD from zero"),
        section="5, 9",
        says="After 1,000 passes of gradient descent from zero it needs this many bits per byte",
        note="Section 4 has 0.587 for the same, section 6b 0.068.",
    ),
    Row(
        id="4/log-ratio-first-half",
        key=("halves", "log-ratio, as published: first half"),
        says="Counted on one half of the text, the constructed network needs this many bits per"
        " byte of that half",
    ),
    Row(
        id="4/log-ratio-other-half",
        key=("halves", "log-ratio, clean"),
        says="Counted on one half of the text, the constructed network needs this many bits per"
        " byte of the other, unseen half",
        note="In the published program pseudo-count and scale were chosen on the half that is"
        " called unseen.",
        also=(
            (
                "pseudo-count and scale chosen on the half that is scored",
                ("halves", "log-ratio, as published: second half"),
            ),
        ),
    ),
    Row(
        id="4/optimised-other-half",
        key=("halves", "optimised readout, clean"),
        says="With optimised output weights the constructed network needs this many bits per byte"
        " of the other half",
        note="In the published program the weights were fitted to both halves.",
        also=(
            (
                "fitted to both halves",
                ("halves", "optimised readout, as published: second half"),
            ),
        ),
    ),
    Row(
        id="4/trained-first-half",
        key=("halves", "trained network, as published: first half"),
        says="The trained network needs this many bits per byte of the first half of its text",
    ),
    Row(
        id="4/trained-other-half",
        key=("halves", "trained network, as published: second half"),
        says="The trained network needs this many bits per byte of the second half of its text",
        note="It was trained on both halves.",
        also=(("trained on the first half alone", ("halves", "trained network, clean")),),
    ),
    Row(
        id="6/mixed-hash-codes",
        key=("hashes", "mixed hash: distinct codes"),
        section="6, 6b",
        says="The mixed hash gives this many different codes to 256 bytes",
        repeats=(("carriers", "hash 16x8: distinct codes"),),
    ),
    Row(
        id="6/bit-extraction-codes",
        key=("hashes", "bit extraction: distinct codes"),
        says="The bits of a byte are this many different codes",
    ),
    Row(
        id="6/bit-extraction",
        key=("hashes", "bit extraction: log-ratio"),
        section="6, 9",
        says="With the byte's own bits as its code the counted network needs this many bits per"
        " byte",
        note="Another hash of the published programs gives"
        " {hashes_degenerate_hash_log_ratio_1024_used:.3f} on 1,024 bytes: all its 8 bits are the"
        " parity of the byte.",
    ),
    Row(
        id="6b/hash-pseudo-inverse",
        key=("carriers", "hash 16x8: pseudo-inverse"),
        says="With 8-bit codes and a pseudo-inverse the network needs this many bits per byte",
    ),
    Row(
        id="6b/hash-sgd",
        key=("carriers", "hash 16x8: SGD"),
        says="With 8-bit codes and 1,000 passes of gradient descent it needs this many bits per"
        " byte",
        note="Section 5 has 0.374 for the same.",
    ),
    Row(
        id="6b/full-codes",
        key=("carriers", "full bandwidth 16x16: distinct codes"),
        says="With 16 bits the mixed hash gives this many different codes to 256 bytes",
    ),
    Row(
        id="6b/full-pseudo-inverse",
        key=("carriers", "full bandwidth 16x16: pseudo-inverse"),
        says="With 16-bit codes, 256 units and a pseudo-inverse the network needs this many bits"
        " per byte",
    ),
    Row(
        id="6b/full-sgd",
        key=("carriers", "full bandwidth 16x16: SGD"),
        says="With 16-bit codes and 1,000 passes of gradient descent it needs this many bits per"
        " byte",
    ),
    Row(
        id="6b/semantic-codes",
        key=("carriers", "semantic 16x8: distinct codes"),
        says="Eight semantic features give this many different codes to 256 bytes",
        unknown=_FEATURES,
    ),
    Row(
        id="6b/semantic-pseudo-inverse",
        key=("carriers", "semantic 16x8: pseudo-inverse"),
        says="With semantic features and a pseudo-inverse the network needs this many bits per"
        " byte",
        unknown=_FEATURES,
    ),
    Row(
        id="6b/semantic-sgd",
        key=("carriers", "semantic 16x8: SGD"),
        says="With semantic features and 1,000 passes of gradient descent it needs this many bits"
        " per byte",
        unknown=_FEATURES,
    ),
    Row(
        id="6b/hybrid-codes",
        key=("carriers", "hybrid 16x(8+8): distinct codes"),
        says="Eight semantic features and eight bits of hash give this many different codes to 256"
        " bytes",
        unknown=_FEATURES,
    ),
    Row(
        id="6b/hybrid-pseudo-inverse",
        key=("carriers", "hybrid 16x(8+8): pseudo-inverse"),
        says="With semantic features, hash bits and a pseudo-inverse the network needs this many"
        " bits per byte",
        unknown=_FEATURES,
    ),
    Row(
        id="6b/hybrid-sgd",
        key=("carriers", "hybrid 16x(8+8): SGD"),
        says="With semantic features, hash bits and 1,000 passes of gradient descent it needs this"
        " many bits per byte",
        unknown=_FEATURES,
    ),
    Row(
        id="7/stretch",
        key=_STRETCH,
        says="The trained network is chaotic: a small difference grows by this factor in a step",
        note="A factor below 1 is no chaos: differences die away. The document calls it an"
        " exponent, and chaos what is above 1.",
    ),
    Row(
        id="7/gradient-decorrelation",
        key=_SHARES[2],
        says="One step back, gradients of the trained network have nothing in common any more"
        " (decorrelation)",
        note="The document does not define it; ours is 1 less the mean |cosine| of the gradients.",
    ),
    Row(
        id="8/dense-from-scratch",
        key=("scaffolding", "dense, document's passes"),
        says="The full network, trained from random weights for 50 passes, needs this many bits per"
        " byte",
    ),
    Row(
        id="8/sparse-from-scratch",
        key=("scaffolding", "sparse, random, document's passes"),
        section="8, 9",
        says="The network of 26,000 weights can't be trained from random weights: after 50 passes"
        " it needs this many bits per byte",
        also=(
            (
                "its weights chosen by the size of trained ones",
                ("scaffolding", "sparse, chosen, document's passes"),
            ),
        ),
    ),
    Row(
        id="9/hebbian-dynamics",
        key=("dynamics", "Hebbian dynamics, optimised W_y"),
        says="Dynamics from covariance with output weights of 500 passes of gradient descent need"
        " this many bits per byte",
    ),
    Row(
        id="9/sign-conditioned-dynamics",
        key=("dynamics", "sign-conditioned dynamics, optimised W_y"),
        says="Sign-conditioned dynamics with output weights of 500 passes of gradient descent need"
        " this many bits per byte",
    ),
    Row(
        id="9/boolean-readout",
        key=("dynamics", "Boolean readout, optimised W_y"),
        says="The signs of the trained network's states with optimised output weights need this"
        " many bits per byte",
    ),
    Row(
        id="3/uniform",
        key=("costs", "uniform"),
        section="3, 4, 8, 9",
        says="Without a model a byte takes this many bits",
    ),
)

SENTENCES: tuple[Sentence, ...] = (
    Sentence(
        id="3/half-w-y-improves",
        text="Half Hebbian W_y improves the trained network",
        says="Half of the output weights' values from statistics improve the trained network",
        section="3, 9",
    ),
    Sentence(
        id="3/b-h-improves",
        text="Hebbian b_h improves the trained network",
        says="Hidden biases from statistics improve the trained network",
        section="3, 9",
    ),
    Sentence(
        id="3/fifth-w-h-improves",
        text="A fifth of Hebbian W_h improves the trained network",
        says="A fifth of the recurrent weights' values from covariance improves the trained"
        " network",
        section="3, 9",
    ),
    Sentence(
        id="4/analytic-beats-trained",
        text="The analytic construction beats the trained network",
        says="The network of hash, shift register and log-ratios beats the trained one",
        section="4, 5",
    ),
    Sentence(
        id="5/pseudo-inverse-beats-log-ratio",
        text="The pseudo-inverse beats the log-ratio",
        says="The pseudo-inverse beats the sum of log-ratios",
        note="It catches how offsets go together, and its noise.",
    ),
    Sentence(
        id="5/20-steps-beat-trained",
        text="20 steps from the pseudo-inverse beat the trained network",
        says="20 steps from the pseudo-inverse beat the trained network",
    ),
    Sentence(
        id="5/optimised-beats-trained",
        text="The fully optimised readout beats the trained network",
        says="A shift register with fully optimised output weights beats the trained network",
    ),
    Sentence(
        id="4/other-half-beats-trained",
        text="On the other half, the analytic readout beats the trained network",
        says="On the half of the text that was not counted, the constructed network beats the"
        " trained one",
    ),
    Sentence(
        id="6/mixed-beats-bits",
        text="The mixed hash beats bit extraction (log-ratio)",
        says="With log-ratios, a random hash beats the byte's own bits, although it tells fewer"
        " bytes apart",
    ),
    Sentence(
        id="6b/full-beats-hash",
        text="Full bandwidth beats the 8-bit hash (pseudo-inverse)",
        says="With a pseudo-inverse, 16-bit codes beat 8-bit codes",
    ),
    Sentence(
        id="6b/hybrid-beats-full",
        text="The hybrid carrier beats full bandwidth (pseudo-inverse)",
        says="With a pseudo-inverse, features of text and hash bits beat as many hash bits",
        note="With eight classes of ASCII as features.",
    ),
    Sentence(
        id="8/dense-beats-sparse",
        text="A dense network trains better than a sparse one from scratch",
        says="From random weights, the full network trains better than a sparse one of 26,000"
        " weights",
    ),
    Sentence(
        id="9/sign-conditioned-beats-hebbian",
        text="Sign-conditioned dynamics beat Hebbian ones (optimised W_y)",
        says="With optimised output weights, sign-conditioned dynamics beat those from covariance",
    ),
)
