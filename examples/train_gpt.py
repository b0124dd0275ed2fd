"""Train a small GPT on bytes with Collins, save in the middle, and go on from there.

    python examples/train_gpt.py [STEPS]

The optimizer is the only line that differs from a script with torch's AdamW. The output head gets
a group of its own, with 8 bits of momentum.
"""

import io
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional

import microdollar as md
from microdollar.learn.optim import Collins, optimizer_state_bytes

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 128, 2, 4, 64, 16


class Block(nn.Module):
    """Attention and a feed-forward network, each on a normalised input."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.attend = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, width) to the same."""
        batch, length, _ = x.shape
        split = self.attend(self.norms[0](x)).view(batch, length, 3, HEADS, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        return x + self.feed(self.norms[1](x))


class GPT(nn.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) to (batch, length, 256)."""
        x = self.token(tokens) + self.place.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def collins(model: GPT) -> Collins:
    """Decay for matrices only, and more bits for the head."""
    head = model.head.weight
    matrices = [p for p in model.parameters() if p.dim() == 2 and p is not head]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return Collins(
        [
            {"params": matrices},
            {"params": [head], "m_state": "8bit"},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=3e-3,
        weight_decay=0.1,
    )


def main() -> None:
    """Train, save, load into a new model and optimizer, train on."""
    torch.manual_seed(0)
    data = torch.frombuffer(bytearray(md.load_corpus("python-docs").data), dtype=torch.uint8)
    model = GPT()
    optimizer = collins(model)
    for step in range(STEPS):
        if step == STEPS // 2:
            file = io.BytesIO()
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
            model = GPT()
            model.load_state_dict(saved["model"])
            optimizer = collins(model)
            optimizer.load_state_dict(saved["optimizer"])
        starts = torch.randint(len(data) - CONTEXT - 1, (BATCH, 1))
        rows = data[starts + torch.arange(CONTEXT + 1)].long()
        logits = model(rows[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step:4d}   {loss.item():.3f} nats a byte")
    parameters = sum(param.numel() for param in model.parameters())
    held = optimizer_state_bytes(optimizer)
    print(f"{parameters:,} parameters, {held:,} bytes of state, {held / parameters:.2f} each")


if __name__ == "__main__":
    main()
