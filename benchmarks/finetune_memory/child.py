"""One process that fine-tunes the model and says what it holds; ``run.py`` starts it.

python child.py prepare GGUF FOLDER       weights and tokens, once
python child.py train FOLDER JSON         a few steps; prints one JSON object
"""

import json
import os
import re
import resource
import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from microdollar.learn.optim import Collins, optimizer_state_bytes

CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rope_theta": 100_000.0,
    "rms_norm_eps": 1e-5,
    "vocab_size": 49_152,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""SmolLM2-135M's (the GGUF file's own header)."""
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=2e-5),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=2e-5, fused=True),
    "collins": lambda p: Collins(p, lr=2e-5),
    "collins-mini": lambda p: Collins.mini(p, lr=2e-5),
}
STEPS = 2
"""The second has the state that the first made."""


def prepare(gguf: Path, folder: Path) -> None:
    """Weights in float32 and tokens of a text, as files that a child reads without transformers."""
    import pydoc_data.topics

    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))[:200_000]
    ids = torch.tensor(tokenizer(text)["input_ids"])
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    weights = {name: value.contiguous() for name, value in model.named_parameters()}
    save_file(weights, folder / "weights.safetensors")
    save_file({"ids": ids}, folder / "ids.safetensors")


def build(folder: Path) -> LlamaForCausalLM:
    """The model, with its weights if they were prepared, else random ones."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG))
    weights = folder / "weights.safetensors"
    if weights.exists():
        # Read and not mapped, since pages of a mapped file would count as this process's.
        with weights.open("rb") as file, torch.no_grad():
            size = int.from_bytes(file.read(8), "little")
            places = json.loads(file.read(size))
            for name, value in model.named_parameters():
                start, end = places[name]["data_offsets"]
                file.seek(8 + size + start)
                part = torch.frombuffer(bytearray(file.read(end - start)), dtype=torch.float32)
                value.copy_(part.view(value.shape))
    return model.train()


def text_ids(folder: Path) -> Tensor:
    """Tokens to train on."""
    from safetensors.torch import load_file

    if (folder / "ids.safetensors").exists():
        return load_file(folder / "ids.safetensors")["ids"]
    return torch.randint(CONFIG["vocab_size"], (50_000,))


def status() -> dict[str, int]:
    """Bytes of this process, as the kernel counts them."""
    names = {"VmRSS": "resident", "VmHWM": "resident_peak", "VmData": "data"}
    text = Path("/proc/self/status").read_text()
    found = re.findall(r"^(VmRSS|VmHWM|VmData):\s*(\d+) kB", text, re.MULTILINE)
    return {names[name]: int(value) * 1024 for name, value in found}


def storage_bytes(tensors: list[Tensor]) -> int:
    """Of distinct storages."""
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
                for one in tensors}.values())  # fmt: skip


class Saved:
    """Storages that autograd keeps for the backward pass, parameters left out."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.known = {one.untyped_storage().data_ptr() for one in model.parameters()}
        self.sizes: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """Note one; autograd keeps the tensor itself."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def allocator_peak(run: Callable[[], None]) -> int:
    """Most bytes that torch's allocator had given out at once."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True, acc_events=True) as profile:
        run()
    events = [one for one in profile.profiler.kineto_results.events() if one.name() == "[memory]"]
    sizes = [one.nbytes() for one in sorted(events, key=lambda one: one.start_ns())]
    return max(accumulate(sizes))


def train(folder: Path, case: dict) -> dict:
    """Some steps of ``case``; with ``count`` also what is held by kind."""
    # A step of something small, so that what is loaded for the first is there.
    small = torch.nn.Linear(128, 128)
    small(torch.ones(1, 128)).sum().backward()
    OPTIMIZERS[case["optimizer"]](small.parameters()).step()
    base = status()
    if limit := case.get("limit_bytes"):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    length, batch = case["length"], case["batch"]
    ids = text_ids(folder)
    held: dict[str, object] = {}
    losses: list[float] = []

    def steps() -> None:
        model = build(folder)
        optimizer = OPTIMIZERS[case["optimizer"]](model.parameters())
        for step in range(STEPS):
            start = step * length * batch
            part = ids[start : start + length * batch].view(batch, length)
            optimizer.zero_grad()
            saved = Saved(model)
            if case.get("count"):
                with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda kept: kept):
                    loss = model(input_ids=part, labels=part).loss
            else:
                loss = model(input_ids=part, labels=part).loss
            losses.append(float(loss.detach()))
            loss.backward()
            del loss
            optimizer.step()
        parameters = list(model.parameters())
        held.update(
            parameters=sum(one.numel() for one in parameters),
            weights=storage_bytes(parameters),
            gradients=storage_bytes([one.grad for one in parameters]),
            optimizer=optimizer_state_bytes(optimizer),
            activations=sum(saved.sizes.values()),
        )

    if case.get("count"):
        held["allocator_peak"] = allocator_peak(steps)
    else:
        steps()
    return {"held": held, "losses": losses, "base": base, "end": status()}


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(train(Path(sys.argv[2]), json.loads(sys.argv[3]))))


if __name__ == "__main__":
    main()
