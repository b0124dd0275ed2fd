"""Predicted bytes of state against what a step leaves in ``optimizer.state``: equal, exactly."""

import pytest
import torch
from torch import nn

from microdollar.estimator.coded_state import coded_bytes
from microdollar.learn.optim import Collins, optimizer_state_bytes
from microdollar.spec.hf import model_from_config
from microdollar.spec.parameter_shapes import model_shapes
from microdollar.spec.parameters import count_parameters
from microdollar.work.formulas.collins import STATES, model_state_bytes


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.stacked = nn.Parameter(torch.zeros(6, 40, 56))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.odd = nn.Parameter(torch.zeros(33, 259))


MODULES = {
    "mlp": lambda: nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10)),
    "conv": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 64, 3), nn.ConvTranspose1d(64, 32, 5)
    ),
    "embedding": lambda: nn.ModuleList([nn.Embedding(999, 36), nn.EmbeddingBag(300, 15)]),
    "attention": lambda: nn.TransformerEncoderLayer(96, 4, 300),
    "lstm": lambda: nn.LSTM(50, 70, num_layers=2),
    "experts": Experts,
}


def stepped(module, **options):
    optimizer = Collins(module.parameters(), **options)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer_state_bytes(optimizer)


@pytest.mark.parametrize("m_state", ["fp32", "bf16", "8bit", "4bit", "2bit", "1bit"])
@pytest.mark.parametrize("name", MODULES)
def test_of_modules(name, m_state):
    module = MODULES[name]()
    for v_state in ("factored", "tile", "fp32"):
        want = model_state_bytes([p.shape for p in module.parameters()], m_state, v_state)
        assert stepped(module, m_state=m_state, v_state=v_state) == want


@pytest.mark.parametrize("m_state", ["4bit", "1bit"])
@pytest.mark.parametrize(
    ("dtype", "moment_bytes"), [(torch.float64, 8), (torch.bfloat16, 4), (torch.float16, 4)]
)
def test_of_parameters_of_other_types(dtype, moment_bytes, m_state):
    """Exact moments are as wide as a float64 parameter, and never narrower than float32."""
    module = MODULES["conv"]().to(dtype)
    shapes = [p.shape for p in module.parameters()]
    want = model_state_bytes(shapes, m_state, moment_bytes=moment_bytes)
    assert stepped(module, m_state=m_state) == want
    assert want > model_state_bytes(shapes, m_state) or moment_bytes == 4


@pytest.mark.parametrize("name", STATES)
def test_the_plans_names_are_the_classes(name):
    module = MODULES["attention"]()
    made = Collins if name == "collins" else Collins.mini
    group = made(module.parameters()).param_groups[0]
    assert (group["m_state"], group["v_state"]) == STATES[name]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", STATES)
def test_of_a_config_and_its_model(name, tied):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=96,
        intermediate_size=200,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=500,
        tie_word_embeddings=tied,
    )
    module = transformers.LlamaForCausalLM(config)
    spec = model_from_config(config.to_dict())
    assert sum(one.elements for one in model_shapes(spec)) == count_parameters(spec).total
    m_state, v_state = STATES[name]
    found = stepped(module, m_state=m_state, v_state=v_state)
    assert found == coded_bytes(name, model_shapes(spec))
