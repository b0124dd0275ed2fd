"""Fine-tune a language model with Hugging Face's Trainer and Collins.

    python examples/finetune_with_trainer.py [STEPS]

Needs transformers and accelerate. The model has GPT-2's architecture, small and with random
weights, so that nothing is downloaded; ``from_pretrained`` would stand in its place. The Trainer
takes the optimizer as ``optimizers=(optimizer, schedule)``, and saves and resumes it.
"""

import sys
import tempfile

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
)

import microdollar as md
from microdollar.learn.optim import Collins, optimizer_state_bytes

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
LENGTH = 64


class Pieces(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Pieces of a text, a byte a token."""

    def __init__(self, text: bytes) -> None:
        self.tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.tokens) // LENGTH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        piece = self.tokens[index * LENGTH : (index + 1) * LENGTH].long()
        return {"input_ids": piece, "labels": piece}


def grouped(model: torch.nn.Module) -> list[dict[str, object]]:
    """Decay for matrices, none for biases and norms."""
    named = list(model.named_parameters())
    return [
        {"params": [(name, p) for name, p in named if p.dim() > 1], "weight_decay": 0.1},
        {"params": [(name, p) for name, p in named if p.dim() < 2], "weight_decay": 0.0},
    ]


def main(folder: str) -> None:
    """Train for some steps, save at half of them, and go on from what was saved."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=256, n_positions=LENGTH, n_embd=128, n_layer=2, n_head=4)
    data = Pieces(md.load_corpus("python-docs").data)
    for last, resume in ((STEPS // 2, False), (STEPS, True)):
        model = GPT2LMHeadModel(config)
        optimizer = Collins(grouped(model), lr=2e-3)
        schedule = get_cosine_schedule_with_warmup(optimizer, STEPS // 10, STEPS)
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=last,
            save_steps=STEPS // 2,
            per_device_train_batch_size=8,
            logging_steps=max(1, STEPS // 4),
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            optimizers=(optimizer, schedule),
        )
        result = trainer.train(resume_from_checkpoint=resume)
    print(f"{result.global_step} steps, loss {result.training_loss:.3f}")
    parameters = sum(param.numel() for param in model.parameters())
    held = optimizer_state_bytes(optimizer)
    print(f"{parameters:,} parameters, {held:,} bytes of state, {held / parameters:.2f} each")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
