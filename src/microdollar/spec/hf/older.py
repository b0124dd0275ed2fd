"""Decoders before Llama: GPT-2, GPT-NeoX, BLOOM, OPT, MPT, Falcon and their relatives."""

from microdollar.spec.hf.decoders import finish
from microdollar.spec.hf.fields import Fields
from microdollar.spec.model import Attention, Block, Dense, FeedForward, ModelSpec, Table


def gpt2(fields: Fields, name: str) -> ModelSpec:
    """GPT-2, and StarCoder's GPT-BigCode with one key-value head."""
    fields.refuse_unless("add_cross_attention", False)
    hidden, heads, dim = _width(fields)
    kv_heads = heads
    if fields.family == "gpt_bigcode":
        one = fields.flag("multi_query", default=True)
        kv_heads = fields.kv_heads(heads, "num_key_value_heads", default=1 if one else heads)
    positions = fields.size("n_positions", "max_position_embeddings", default=1024)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, kv_heads, dim, bias=True),),
        feed_forward=FeedForward(
            inner=fields.size("n_inner", default=4 * hidden, most=2**40), bias=True
        ),
        norm_bias=True,
    )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
        positions=positions,
        norm_bias=True,
    )
    return finish(fields, model)


def gptj(fields: Fields, name: str) -> ModelSpec:
    """GPT-J: attention and feed-forward part side by side after one norm; a bias on the logits."""
    hidden, heads, dim = _width(fields)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, heads, dim, bias=False),),
        feed_forward=FeedForward(
            inner=fields.size("n_inner", default=4 * hidden, most=2**40), bias=True
        ),
        norms=1,
        norm_bias=True,
    )
    bias = Table(name="head bias", parameters=fields.size("vocab_size"))
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        norm_bias=True,
        tables=(bias,),
    )
    return finish(fields, model)


def gpt_neox(fields: Fields, name: str) -> ModelSpec:
    """GPT-NeoX and Pythia."""
    hidden, heads, dim = _width(fields)
    bias = fields.flag("attention_bias", default=True)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, heads, dim, bias=bias),),
        feed_forward=FeedForward(inner=fields.size("intermediate_size"), bias=True),
        norm_bias=True,
    )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        norm_bias=True,
    )
    return finish(fields, model)


def bloom(fields: Fields, name: str) -> ModelSpec:
    """BLOOM: ALiBi, and a norm after the token table."""
    hidden, heads, dim = _width(fields)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, heads, dim, bias=True),),
        feed_forward=FeedForward(inner=4 * hidden, bias=True),
        norm_bias=True,
    )
    # BLOOM has no longest sequence; seq_length is that of its training.
    longest = fields.optional_size("seq_length")
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
        final_norms=2,
        norm_bias=True,
        max_sequence=longest,
    )
    return finish(fields, model)


def opt(fields: Fields, name: str) -> ModelSpec:
    """OPT: two more rows of positions than tokens, and a narrower token table in one size."""
    hidden, heads, dim = _width(fields)
    bias = fields.flag("enable_bias", default=True)
    affine = fields.flag("layer_norm_elementwise_affine", default=True)
    narrow = fields.size("word_embed_proj_dim", default=hidden)
    longest = fields.size("max_position_embeddings", default=2048)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, heads, dim, bias=bias),),
        feed_forward=FeedForward(inner=fields.size("ffn_dim"), bias=bias),
        norms=2 if affine else 0,
        norm_bias=True,
    )
    last = fields.flag("do_layer_norm_before", default=True) and not fields.flag(
        "_remove_final_layer_norm", default=False
    )
    projections: tuple[Dense, ...] = ()
    if narrow != hidden:
        # An untied head would be as wide as the table; ModelSpec's is as wide as the model.
        fields.refuse_unless("tie_word_embeddings", True)
        projections = (
            Dense(name="project in", inputs=narrow, outputs=hidden, bias=False),
            Dense(name="project out", inputs=hidden, outputs=narrow, bias=False),
        )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
        embedding_width=narrow if narrow != hidden else None,
        positions=longest + 2,
        final_norms=1 if last and affine else 0,
        norm_bias=True,
        max_sequence=longest,
        dense=projections,
    )
    return finish(fields, model)


def mpt(fields: Fields, name: str) -> ModelSpec:
    """MPT: ALiBi, no biases, norms without one."""
    fields.refuse_unless("no_bias", True)
    hidden, heads, dim = _width(fields)
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, heads, dim, bias=False),),
        feed_forward=FeedForward(inner=fields.size("expansion_ratio", default=4) * hidden),
    )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
    )
    return finish(fields, model)


def falcon(fields: Fields, name: str) -> ModelSpec:
    """Falcon: one key-value head, or a few in its newer form; parallel parts share a norm."""
    hidden, heads, dim = _width(fields)
    bias = fields.flag("bias", default=False)
    new = fields.flag("new_decoder_architecture", default=False)
    if new:
        kv_heads = fields.kv_heads(heads, "num_kv_heads", "n_head_kv")
        norms = fields.size("num_ln_in_parallel_attn", default=2, most=2)
    else:
        kv_heads = 1 if fields.flag("multi_query", default=True) else heads
        norms = 1 if fields.flag("parallel_attn", default=True) else 2
    block = Block(
        count=_layers(fields),
        mixers=(_attention(heads, kv_heads, dim, bias=bias),),
        feed_forward=FeedForward(
            inner=fields.size("ffn_hidden_size", default=4 * hidden, most=2**40), bias=bias
        ),
        norms=norms,
        norm_bias=True,
    )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        tied=True,
        norm_bias=True,
    )
    return finish(fields, model)


def _width(fields: Fields) -> tuple[int, int, int]:
    """Width of the model, heads and features of a head, under any of their names."""
    hidden = fields.size("hidden_size", "n_embd", "n_embed", "d_model")
    return hidden, *fields.heads(hidden, "num_attention_heads", "n_head", "n_heads")


def _layers(fields: Fields) -> int:
    return fields.layers("num_hidden_layers", "n_layer", "n_layers")


def _attention(heads: int, kv_heads: int, head_dim: int, *, bias: bool) -> Attention:
    return Attention(
        heads=heads, kv_heads=kv_heads, head_dim=head_dim, qkv_bias=bias, out_bias=bias
    )
