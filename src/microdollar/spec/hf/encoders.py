"""Encoders (BERT, RoBERTa, DistilBERT) and encoder-decoders (T5)."""

from dataclasses import replace

from microdollar.spec.hf.fields import MOST_LAYERS, Fields
from microdollar.spec.model import Attention, Block, Dense, FeedForward, ModelSpec, Table


def bert(fields: Fields, name: str) -> ModelSpec:
    """BERT and RoBERTa, with what their architecture puts on top.

    Without ``architectures`` it is the masked language model that pretraining uses.
    """
    hidden = fields.size("hidden_size")
    rows = fields.size("max_position_embeddings", default=512)
    return _encoder(
        fields,
        name,
        hidden,
        heads=("num_attention_heads",),
        layers=("num_hidden_layers",),
        inner=fields.size("intermediate_size"),
        positions=rows,
        token_types=fields.size("type_vocab_size", default=2),
        # RoBERTa counts its positions from the padding token's number + 1.
        longest=rows if fields.family == "bert" else max(1, rows - 2),
    )


def distilbert(fields: Fields, name: str) -> ModelSpec:
    """DistilBERT: half of BERT's layers, no token types, no pooler."""
    rows = fields.size("max_position_embeddings", default=512)
    return _encoder(
        fields,
        name,
        fields.size("dim", "hidden_size"),
        heads=("n_heads", "num_attention_heads"),
        layers=("n_layers", "num_hidden_layers"),
        inner=fields.size("hidden_dim"),
        positions=rows,
        token_types=0,
        longest=rows,
    )


def _encoder(
    fields: Fields,
    name: str,
    hidden: int,
    *,
    heads: tuple[str, ...],
    layers: tuple[str, ...],
    inner: int,
    positions: int,
    token_types: int,
    longest: int,
) -> ModelSpec:
    fields.refuse_unless("is_decoder", False)
    fields.refuse_unless("add_cross_attention", False)
    vocab = fields.size("vocab_size")
    count, dim = fields.heads(hidden, *heads)
    block = Block(
        count=fields.layers(*layers),
        mixers=(
            Attention(
                heads=count,
                kv_heads=count,
                head_dim=dim,
                qkv_bias=True,
                out_bias=True,
                causal=False,
            ),
        ),
        feed_forward=FeedForward(inner=inner, bias=True),
        norm_bias=True,
    )
    task = _task(fields)
    language = task in ("MaskedLM", "PreTraining")
    return ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(block,),
        vocab=vocab,
        positions=positions,
        token_types=token_types,
        tied=fields.flag("tie_word_embeddings", default=True),
        head=language,
        # One after the tables, and one before the head of a masked language model.
        final_norms=2 if language else 1,
        norm_bias=True,
        dense=_top(fields, hidden, task),
        tables=(Table(name="head bias", parameters=vocab),) if language else (),
        max_sequence=longest,
    )


_TASKS = ("MaskedLM", "PreTraining", "SequenceClassification")


def _task(fields: Fields) -> str:
    architecture = fields.architecture()
    if not architecture:
        return "MaskedLM"
    if architecture.endswith("Model"):
        return "Model"
    for task in _TASKS:
        if architecture.endswith(f"For{task}"):
            return task
    accepted = ", ".join(f"...For{task}" for task in _TASKS)
    raise fields.refused("architectures", f"...Model, {accepted}")


def _top(fields: Fields, hidden: int, task: str) -> tuple[Dense, ...]:
    pooler = Dense(name="pooler", inputs=hidden, outputs=hidden, per="sequence")
    transform = Dense(name="transform", inputs=hidden, outputs=hidden)
    if task == "MaskedLM":
        return (transform,)
    if task == "PreTraining":
        if fields.family != "bert":
            raise fields.refused("architectures", "...ForMaskedLM for this family")
        order = Dense(name="sentence order", inputs=hidden, outputs=2, per="sequence")
        return (pooler, transform, order)
    if task == "SequenceClassification":
        # Each family has one square product before the classifier, whatever its name.
        labels = fields.labels()
        return (pooler, Dense(name="classifier", inputs=hidden, outputs=labels, per="sequence"))
    return () if fields.family == "distilbert" else (pooler,)


def t5(fields: Fields, name: str) -> ModelSpec:
    """T5, 1.0 and 1.1 (gated, head not tied); each stack has one table of relative positions."""
    hidden, heads = fields.size("d_model", "hidden_size"), fields.size("num_heads")
    dim = fields.size("d_kv", default=64)
    layers = fields.layers("num_layers", "num_hidden_layers")
    buckets = fields.size("relative_attention_num_buckets", default=32)
    kind = fields.word("feed_forward_proj", "relu")
    feed_forward = FeedForward(inner=fields.size("d_ff"), gated=kind.startswith("gated-"))
    table = Table(name="relative positions", parameters=buckets * heads)
    attention = Attention(heads=heads, kv_heads=heads, head_dim=dim)
    encoder = Block(
        count=layers,
        mixers=(replace(attention, causal=False),),
        feed_forward=feed_forward,
    )
    model = ModelSpec(
        name=name,
        family=fields.family,
        hidden=hidden,
        blocks=(encoder,),
        vocab=fields.size("vocab_size"),
        head=False,
        tables=(table,),
        max_sequence=fields.optional_size("n_positions"),
    )
    if fields.architecture().endswith("EncoderModel"):
        return model
    decoder = Block(
        count=fields.size("num_decoder_layers", default=layers, most=MOST_LAYERS),
        mixers=(attention, replace(attention, causal=False, cross=True)),
        feed_forward=feed_forward,
        norms=3,
    )
    return replace(
        model,
        encoder=(encoder,),
        blocks=(decoder,),
        head=True,
        tied=fields.flag("tie_word_embeddings", default=True),
        final_norms=2,
        tables=(table, replace(table, name="relative positions of the decoder")),
    )
