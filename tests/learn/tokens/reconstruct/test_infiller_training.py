"""Training of the infiller: reproducible, resumable, the best epoch kept."""

import io

import numpy as np
import pytest

from microdollar.errors import MicrodollarError
from microdollar.learn.tokens.reconstruct.infiller import InfillerConfig, InfillerTraining
from microdollar.learn.tokens.tokenizers import make_tokenizer
from microdollar.learn.tokens.vocabulary import PAD, SPECIAL, Vocabulary

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.reconstruct import train_infiller_torch as training  # noqa: E402
from microdollar.learn.tokens.reconstruct.counted_table_torch import counted_table  # noqa: E402

WORDS = make_tokenizer("words")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TEXTS = [
    f"the {animal} sat on the {place} and saw a {animal} by the {place}. " * 3
    for animal in ("cat", "dog", "cow", "bird")
    for place in ("mat", "log", "tree")
]
DOCUMENTS = [WORDS.tokenize(text) for text in TEXTS]
VOCABULARY = Vocabulary.of(DOCUMENTS, 40)
CONFIG = InfillerConfig(
    vocabulary=len(VOCABULARY),
    width=16,
    layers=1,
    heads=2,
    inner=16,
    length=16,
    window=16,
    copying=8,
)


def _options(**changes):
    return InfillerTraining(**({"epochs": 3, "batch": 8, "learning_rate": 5e-3} | changes))


def _fit(options, **others):
    return training.fit_infiller(DOCUMENTS, VOCABULARY, CONFIG, options, **others)


def _same(one, other):
    return all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


@pytest.mark.parametrize("optimizer", ["adamw", "collins"])
def test_a_stopped_run_goes_on_to_the_same_weights(optimizer):
    options = _options(optimizer=optimizer)
    states = []

    def stop(state):
        file = io.BytesIO()
        torch.save(state, file)
        states.append(file)
        if len(states) == 2:
            raise KeyboardInterrupt

    whole = _fit(options, validation=DOCUMENTS[:2])
    with pytest.raises(KeyboardInterrupt):
        _fit(options, validation=DOCUMENTS[:2], saved=stop)
    states[-1].seek(0)
    state = torch.load(states[-1], weights_only=False)
    resumed = _fit(options, validation=DOCUMENTS[:2], state=state)
    assert _same(whole, resumed)
    assert whole.facts == resumed.facts
    assert whole.facts["epochs"] == 3


def test_seeds_differ_and_the_threads_are_put_back():
    before = torch.get_num_threads()
    assert not _same(_fit(_options(seed=0)), _fit(_options(seed=1)))
    assert torch.get_num_threads() == before


def test_the_best_epoch_by_validation_is_kept():
    """A rate so high that the later epochs are worse than some earlier one."""
    found = _fit(_options(epochs=6, learning_rate=0.3, clip=100.0), validation=DOCUMENTS[:3])
    curve = [validation for _, validation in found.facts["bits_per_dropped_token"]]
    best = found.facts["best_epoch"]
    assert curve[best - 1] == min(curve)
    numbers = [VOCABULARY.numbers(tokens) for tokens in DOCUMENTS[:3]]
    again = training.random_bits(found.network, numbers, training.VALIDATED)
    assert again == pytest.approx(min(curve), abs=1e-3)


def test_progress_ends_at_the_total():
    told = []
    _fit(_options(), progress=lambda done, total, label="": told.append((done, total, label)))
    assert told[-1][0] == told[-1][1]
    assert "bits" in told[-1][2]


def test_steps_lower_the_bits_of_their_batch():
    numbers = [VOCABULARY.numbers(tokens) for tokens in DOCUMENTS]
    network = training.fresh_infiller(CONFIG, VOCABULARY, numbers)
    optimizer = training.make_optimizer(network, _options())
    rows = torch.from_numpy(training.padded([n[:16] for n in numbers]))
    keep = torch.from_numpy(np.random.default_rng(0).random(rows.shape) < 0.5)
    bits = [
        training.train_step(network, optimizer, rows, keep, learning_rate=5e-3) for _ in range(60)
    ]
    assert bits[-1] < bits[0] / 2


def test_a_loss_that_is_no_number_is_an_error():
    network = training.fresh_infiller(CONFIG, VOCABULARY, [VOCABULARY.numbers(DOCUMENTS[0])])
    with torch.no_grad():
        network.bias.fill_(np.nan)
    rows = torch.full((1, 4), 5)
    with pytest.raises(MicrodollarError, match="lower learning rate"):
        training.train_step(
            network,
            training.make_optimizer(network, _options()),
            rows,
            torch.tensor([[True, False, True, False]]),
            learning_rate=1e-3,
        )


def test_counts_alone_beat_the_shares_of_pieces_on_a_text_that_was_not_counted():
    numbers = [VOCABULARY.numbers(tokens) for tokens in DOCUMENTS]
    network = training.fresh_infiller(CONFIG, VOCABULARY, numbers[2:])
    shares = np.exp(training.unigram_log(VOCABULARY))
    unigram = np.mean(-np.log2(shares[np.concatenate(numbers[:2])]))
    assert training.random_bits(network, numbers[:2], 0.5) < 0.7 * unigram


def test_every_token_is_read_once_an_epoch():
    numbers = [VOCABULARY.numbers(tokens) for tokens in DOCUMENTS]
    rows = list(training.epoch_batches(numbers, 16, 4, np.random.default_rng(0)))
    seen = np.sort(np.concatenate([r[r != PAD] for r in rows]))
    assert np.array_equal(seen, np.sort(np.concatenate(numbers)))
    assert max(r.shape[1] for r in rows) <= 16
    assert max(len(r) for r in rows) <= 4


def test_pieces_of_one_document_are_hidden_as_unknown():
    numbers = [VOCABULARY.numbers(tokens) for tokens in [*DOCUMENTS, WORDS.tokenize("log cat")]]
    fitting = training.Fitting(numbers[:1] + numbers[-1:], VOCABULARY, CONFIG, _options(unseen=0.9))
    hidden = fitting._with_unknown(numbers[0], np.random.default_rng(0))
    changed = hidden != numbers[0]
    assert changed.any()
    assert (hidden[changed] >= len(VOCABULARY)).all()
    assert len(np.unique(hidden)) == len(np.unique(numbers[0]))
    both = np.intersect1d(numbers[0], numbers[-1])
    assert not np.isin(numbers[0][changed], both).any()


def test_counted_vectors_of_words_with_the_same_neighbours_are_close():
    numbers = [VOCABULARY.numbers(tokens) for tokens in DOCUMENTS]
    table = counted_table(numbers, len(VOCABULARY), 12, seed=1).numpy()
    assert np.square(table[SPECIAL:]).mean() == pytest.approx(1, rel=0.3)
    at = {piece: number for number, piece in enumerate(VOCABULARY.pieces)}
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)

    def close(a, b):
        return unit[at[a]] @ unit[at[b]]

    assert close(" cat", " dog") > close(" cat", " mat") + 0.2
    assert close(" mat", " log") > close(" dog", " log") + 0.2
