"""Predicted peaks against what live storages of a real run held: equal to the byte."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from microdollar.estimator.trace import trace_step
from microdollar.measure.torch_memory import peak_torch_bytes

LENGTH, WIDTH, VOCABULARY = 24, 32, 50


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, 4, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + y.reshape(batch, length, -1)
        return x + self.down(functional.gelu(self.up(x)))


class Decoder(nn.Module):
    """Tied embeddings, layers checkpointed on demand."""

    def __init__(self, again=False):
        super().__init__()
        self.again = again
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        h = self.tokens(x)
        for block in self.blocks:
            h = checkpoint(block, h, use_reentrant=False) if self.again else block(h)
        return self.head(h)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)
        self.scale = torch.ones(8)  # neither parameter nor buffer

    def forward(self, *, a, b):
        return {"sum": self.left(a) * self.scale + self.right(b), "difference": a - b}


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, groups=2), nn.ConvTranspose2d(16, 4, 3), nn.Flatten(),
    )  # fmt: skip


def tokens():
    return torch.randint(VOCABULARY, (4, LENGTH))


def numbers(*shape):
    return lambda: torch.randn(shape)


def next_token(output, targets):
    return functional.cross_entropy(output.reshape(-1, VOCABULARY), targets.reshape(-1))


def first_mean(output, _):
    while not isinstance(output, torch.Tensor):
        output = output[0] if isinstance(output, tuple) else output["sum"]
    return output.float().pow(2).mean()


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-3)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


CASES = {
    "decoder": (Decoder, tokens, next_token, adamw),
    "checkpointed": (lambda: Decoder(again=True), tokens, next_token, adamw),
    "sgd": (Decoder, tokens, next_token, momentum),
    "no optimizer": (Decoder, tokens, next_token, None),
    "cnn": (convolutions, numbers(4, 3, 16, 16), first_mean, adamw),
    "rnn": (lambda: nn.RNN(WIDTH, 16, 2), numbers(9, 4, WIDTH), first_mean, adamw),
    "gru": (lambda: nn.GRU(WIDTH, 16), numbers(9, 4, WIDTH), first_mean, adamw),
    "lstm": (lambda: nn.LSTM(WIDTH, 16, 2), numbers(9, 4, WIDTH), first_mean, adamw),
    "adafactor": (lambda: nn.Linear(64, 64), numbers(9, 64), first_mean, torch.optim.Adafactor),
    "adam, foreach": (
        lambda: nn.Linear(64, 64),
        numbers(9, 64),
        first_mean,
        lambda parameters: torch.optim.Adam(parameters, foreach=True),
    ),
    "copied layers": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True),
            2,
            enable_nested_tensor=False,
        ),
        numbers(4, LENGTH, WIDTH),
        first_mean,
        adamw,
    ),
    "arguments by name": (
        TwoInputs,
        lambda: {"a": torch.randn(16, WIDTH), "b": torch.randn(16, WIDTH)},
        first_mean,
        adamw,
    ),
}


def counted(make, inputs, loss, optimizer, *, autocast=None, output_until="step"):
    """Two steps for real, everything made within the window."""

    def run():
        module, given = make(), inputs()
        stepper = optimizer(module.parameters()) if optimizer else None
        held = []
        for _ in range(2):
            step(module, given, stepper, held)

    def step(module, given, stepper, held):
        module.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast is not None):
            output = module(**given) if isinstance(given, dict) else module(given)
            held.clear()
            value = loss(output, given)
        if output_until == "loss":
            del output
        elif output_until == "next":
            held.append(output)
        value.backward()
        if stepper:
            stepper.step()

    return peak_torch_bytes(run).value


def predicted(make, inputs, loss, optimizer, **options):
    given = inputs()
    targets = None if isinstance(given, dict) else given
    criterion = (lambda output: loss(output, None)) if targets is None else loss
    return trace_step(make, given, targets=targets, loss=criterion, optimizer=optimizer, **options)


@pytest.mark.parametrize("name", CASES)
def test_peak_is_that_of_a_real_run(name):
    case = CASES[name]
    traced = predicted(*case)
    assert traced.peak_bytes == counted(*case)
    assert traced.peak_bytes == traced.work.memory_bytes
    assert traced.peak_bytes == max(traced.first_peak_bytes, traced.steady_peak_bytes)
    assert not traced.unknown


def test_autocast():
    case = CASES["decoder"]
    traced = predicted(*case, autocast="bfloat16")
    assert traced.peak_bytes == counted(*case, autocast="bfloat16")
    assert any(op.dtype == "bfloat16" and op.kind == "matmul" for op in traced.work.ops)


@pytest.mark.parametrize("until", ["loss", "step", "next"])
def test_how_long_the_output_lives(until):
    case = CASES["no optimizer"]
    assert predicted(*case, output_until=until).peak_bytes == counted(*case, output_until=until)


def test_buffers_say_what_memory_is_for():
    traced = predicted(*CASES["decoder"])
    sizes = {buffer.name: buffer.bytes for buffer in traced.work.buffers}
    module = Decoder()
    weights = sum(4 * parameter.numel() for parameter in module.parameters())
    assert sizes["parameters"] == weights  # the tied weight once
    # Two moments of each weight and a count of steps for each array.
    assert sizes["optimizer state"] == 2 * weights + 4 * len(list(module.parameters()))
    assert sizes["inputs"] == 8 * 4 * LENGTH
    assert sizes["activations"] > sizes["temporaries"]


def test_recomputation_of_named_submodules_is_a_checkpoint():
    plain, own = (predicted(*CASES[name]) for name in ("decoder", "checkpointed"))
    asked = predicted(*CASES["decoder"], recompute=("blocks.?",))
    assert asked.peak_bytes == own.peak_bytes < plain.peak_bytes
    assert asked.work.flops == own.work.flops > plain.work.flops
    assert asked.by_phase["recompute"] > 0 == plain.by_phase.get("recompute", 0)


def test_cuda_rounds_and_reserves():
    case = CASES["decoder"]
    on_cpu, on_cuda = predicted(*case), predicted(*case, device="cuda")
    assert on_cpu.reserved_bytes is None
    assert on_cuda.reserved_bytes >= on_cuda.peak_bytes > on_cpu.peak_bytes
    assert on_cuda.reserved_bytes % 2**21 == 0
    assert all(event.bytes % 512 == 0 for event in on_cuda.events)
    assert any(op.operator.startswith("_foreach") for op in on_cuda.work.ops)
    assert not any(op.operator.startswith("_foreach") for op in on_cpu.work.ops)


def test_inputs_without_memory_are_the_same():
    make, inputs, loss, optimizer = CASES["decoder"]
    real = trace_step(make(), inputs(), targets=inputs(), loss=loss, optimizer=optimizer)
    with torch.device("meta"):
        module, given = make(), inputs()
    bare = trace_step(module, given, targets=given, loss=loss, optimizer=optimizer)
    assert bare.work.ops == real.work.ops
    assert bare.peak_bytes == real.peak_bytes - 8 * given.numel()  # here targets are the inputs
