"""Plans that the tests of memory share."""

from typing import Any

from microdollar.spec.model import Attention, Block, FeedForward, ModelSpec
from microdollar.spec.training import Layout, TrainingPlan, TrainSpec


def gpt(hidden: int = 256, layers: int = 4, heads: int = 8, vocab: int = 1000, **more: Any):
    """A GPT-2 with LayerNorms, biases and a feed-forward part of four times the width."""
    block = Block(
        count=layers,
        mixers=(
            Attention(
                heads=heads,
                kv_heads=heads,
                head_dim=hidden // heads,
                qkv_bias=True,
                out_bias=True,
            ),
        ),
        feed_forward=FeedForward(inner=4 * hidden, bias=True),
        norm_bias=True,
    )
    given = {"positions": 16_384, "tied": False, "norm_bias": True, **more}
    return ModelSpec(
        name="gpt", family="gpt2", hidden=hidden, vocab=vocab, blocks=(block,), **given
    )


def llama(hidden: int = 256, layers: int = 4, heads: int = 8, kv_heads: int = 2, vocab: int = 1000):
    """A Llama: RMSNorms, grouped queries, gated feed-forward part."""
    block = Block(
        count=layers,
        mixers=(Attention(heads=heads, kv_heads=kv_heads, head_dim=hidden // heads),),
        feed_forward=FeedForward(inner=3 * hidden, gated=True),
    )
    return ModelSpec(name="llama", family="llama", hidden=hidden, vocab=vocab, blocks=(block,))


def plan(model: ModelSpec, *, stack: str | None = None, device: str = "a100-80gb", **fields: Any):
    """A plan; fields of the layout go to the layout, the others to the training."""
    names = Layout.__dataclass_fields__
    layout = Layout(**{key: value for key, value in fields.items() if key in names})
    given = {"sequence": 256, "micro_batch": 2, **fields}
    train = {key: value for key, value in given.items() if key not in names}
    train.setdefault("global_batch", train["micro_batch"] * layout.dp)
    return TrainingPlan(
        model=model, train=TrainSpec(**train), device=device, layout=layout, stack=stack
    )
