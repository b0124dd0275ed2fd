"""Plans for the tests of step time."""

from microdollar.spec.model import Attention, Block, FeedForward, ModelSpec
from microdollar.spec.training import Layout, TrainingPlan, TrainSpec

DEVICE = "NVIDIA A100 SXM 80GB"


def gpt(hidden=1024, layers=12, heads=16, vocab=51200):
    """A GPT of the plain kind."""
    mixer = Attention(heads=heads, kv_heads=heads, head_dim=hidden // heads)
    block = Block(count=layers, mixers=(mixer,), feed_forward=FeedForward(inner=4 * hidden))
    return ModelSpec(
        name="gpt", family="gpt2", hidden=hidden, blocks=(block,), vocab=vocab, tied=True
    )


def gpt_plan(
    *,
    hidden=1024,
    layers=12,
    heads=16,
    micro_batch=1,
    micro_steps=4,
    sequence=1024,
    stack="megatron-deepspeed",
    device=DEVICE,
    **options,
):
    """A training plan of a GPT; ``options`` are fields of the layout or the training."""
    layout_names = set(Layout.__dataclass_fields__)
    layout = Layout(**{k: v for k, v in options.items() if k in layout_names})
    train = {k: v for k, v in options.items() if k not in layout_names}
    settings = {"precision": "float16", "recompute": "full", "attention": "naive"} | train
    return TrainingPlan(
        model=gpt(hidden, layers, heads),
        train=TrainSpec(
            sequence=sequence,
            micro_batch=micro_batch,
            global_batch=micro_batch * micro_steps * layout.dp,
            **settings,
        ),
        device=device,
        layout=layout,
        stack=stack,
    )
