"""Every experiment, by name."""

from microdollar.claims.experiments.base import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="hashes",
            title="the network in numbers: its weights, the codes of its hashes",
            home="hashes:run",
            fast=True,
        ),
        Experiment(
            name="study",
            title="weights from counts, every experiment at three sizes",
            home="study:run",
            corpus_bytes=1_200_000,
            minutes=27,
            version=3,
        ),
        Experiment(
            name="carriers",
            title="what codes of bytes lose, where descent on them ends",
            home="carriers:run",
            corpus_bytes=1_000_000,
            minutes=1,
        ),
        Experiment(
            name="tokens_rates",
            title="rates of tokenizing, simple rules, BLEU and ROUGE",
            home="tokens_rates:run",
            corpus_bytes=2_000_000,
            minutes=0.3,
        ),
        Experiment(
            name="concepts_core",
            title="what the concept learner takes",
            home="concepts_core:run",
            minutes=0.3,
        ),
        Experiment(
            name="document_plans",
            title="estimates of the documents' plans, and of variants of them",
            home="document_plans:run",
            fast=True,
        ),
        Experiment(
            name="encoder_step",
            title="a step of DistilBERT's shape",
            home="encoder_step:run",
            minutes=0.3,
        ),
        Experiment(
            name="gpt2_step",
            title="steps of GPT-2 small's shape",
            home="gpt2_step:run",
            minutes=6,
        ),
        Experiment(
            name="construction_count",
            title="operations of construction and training",
            home="construction:count",
            fast=True,
        ),
        Experiment(
            name="construction_cost",
            title="seconds and held-out bits of construction and training",
            home="construction:measure",
            corpus_bytes=1_200_000,
            minutes=6,
        ),
        Experiment(
            name="sketches",
            title="count-sketches: collisions, bias, variance, tails",
            home="sketches:run",
            fast=True,
        ),
        Experiment(
            name="optimizer_bytes",
            title="what optimizers keep and move",
            home="optimizers:count",
            fast=True,
        ),
        Experiment(
            name="sketch_training",
            title="small language models with published and low-bit state",
            home="optimizer_training:run",
            corpus_bytes=1_200_000,
            minutes=8,
        ),
        Experiment(
            name="collins_step",
            title="steps of optimizers beside torch's fused AdamW",
            home="optimizers:steps",
            minutes=1,
        ),
        Experiment(
            name="sequence_forms",
            title="operations of sequence layers as they grow",
            home="sequence:count",
            fast=True,
        ),
        Experiment(
            name="sequence_growth",
            title="time of sequence layers as they grow",
            home="sequence:measure",
            minutes=1,
        ),
        Experiment(
            name="scaling_laws",
            title="what published laws say of ten times the weights",
            home="scaling:run",
            fast=True,
        ),
    )
}
