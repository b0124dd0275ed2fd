"""The experiments by number and name; each module is imported when its experiment runs."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from microdollar.errors import UnknownNameError
from microdollar.learn.study.rows import Outcome, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One group of experiments of the document."""

    number: int
    name: str
    """As typed: ``--only weights`` or ``--only 1``."""
    title: str
    section: str
    """Of the document on weight construction."""
    module: str
    function: str
    version: int = 1
    """Grows when a formula or a row changes, so that results kept from before are not taken."""

    def run(self, study: Study) -> list[Outcome]:
        """Run it on one slice."""
        module = import_module(f"microdollar.learn.study.{self.module}")
        function: Callable[[Study], list[Outcome]] = getattr(module, self.function)
        return function(study)


def _experiment(
    number: int, name: str, section: str, title: str, *, version: int = 1
) -> Experiment:
    return Experiment(
        number=number,
        name=name,
        title=title,
        section=section,
        module=name,
        function=name,
        version=version,
    )


EXPERIMENTS: tuple[Experiment, ...] = (
    _experiment(1, "weights", "2", "Weights predicted from statistics of the data"),
    _experiment(2, "substitution", "3", "Trained weights replaced by predicted ones"),
    _experiment(3, "construction", "4", "Shift register and hash: what the states hold"),
    _experiment(4, "readouts", "5", "Readouts on fixed dynamics, from counted to optimised"),
    _experiment(5, "halves", "4", "Generalization: one half learnt from, the other scored"),
    _experiment(6, "hashes", "6", "Hash designs"),
    _experiment(7, "carriers", "6b", "Carriers: width and features of the code"),
    _experiment(8, "memory", "7", "Memory: chaos, gradients and information by depth"),
    _experiment(9, "scaffolding", "8", "The sparse network trained from scratch"),
    _experiment(10, "dynamics", "9", "Other dynamics with an optimised readout"),
    _experiment(
        11, "costs", "9", "Where the scale begins and ends: uniform and counted models", version=2
    ),
)


def find(name: str) -> Experiment:
    """The experiment of this number or name.

    Raises:
        UnknownNameError: if there is none.
    """
    wanted = name.strip().casefold()
    for experiment in EXPERIMENTS:
        if wanted in (experiment.name, str(experiment.number)):
            return experiment
    raise UnknownNameError("experiment", name, [entry.name for entry in EXPERIMENTS])
