"""Every experiment, by name."""

from microdollar.claims.experiments.base import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="hashes",
            title="codes of the shift register's hash, and what its states hold",
            home="hashes:run",
            fast=True,
        ),
        Experiment(
            name="study",
            title="weights from counts, every experiment at three sizes",
            home="study:run",
            corpus_bytes=1_200_000,
            minutes=20,
            needs=("model", "data"),
        ),
        Experiment(
            name="gpt2_step",
            title="steps of GPT-2 small's shape",
            home="gpt2_step:run",
            minutes=6,
        ),
    )
}
