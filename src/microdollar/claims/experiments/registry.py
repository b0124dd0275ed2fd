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
    )
}
