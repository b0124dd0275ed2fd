"""What does learning cost, and what is the cheapest way to get it?

The public names below are imported when they are first used, so that ``import microdollar``
costs next to nothing and loads neither numpy nor torch.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microdollar.cost import Cost, Quantity
    from microdollar.errors import MicrodollarError
    from microdollar.estimator.compose import estimate_work
    from microdollar.estimator.trace import trace
    from microdollar.learn.corpus import load_corpus
    from microdollar.learn.load import load_model
    from microdollar.learn.registry import create as learner
    from microdollar.learn.tokens.squeeze import squeeze
    from microdollar.ledger import Ledger
    from microdollar.measure import Meter
    from microdollar.run.estimate import estimate
    from microdollar.run.track import track
    from microdollar.spec import (
        DataSpec,
        DeviceSpec,
        Layout,
        ModelSpec,
        Plan,
        ServingPlan,
        TrainingPlan,
        TrainSpec,
    )
    from microdollar.spec.load import load_plan
    from microdollar.spec.model_catalog import load_model_spec
    from microdollar.work.ops import Op, Work

    __version__: str

_HOMES = {
    "Cost": "cost:Cost",
    "DataSpec": "spec:DataSpec",
    "DeviceSpec": "spec:DeviceSpec",
    "Layout": "spec:Layout",
    "Ledger": "ledger:Ledger",
    "Meter": "measure:Meter",
    "MicrodollarError": "errors:MicrodollarError",
    "ModelSpec": "spec:ModelSpec",
    "Op": "work.ops:Op",
    "Plan": "spec:Plan",
    "Quantity": "cost:Quantity",
    "ServingPlan": "spec:ServingPlan",
    "TrainSpec": "spec:TrainSpec",
    "TrainingPlan": "spec:TrainingPlan",
    "Work": "work.ops:Work",
    "estimate": "run.estimate:estimate",
    "estimate_work": "estimator.compose:estimate_work",
    "learner": "learn.registry:create",
    "load_corpus": "learn.corpus:load_corpus",
    "load_model": "learn.load:load_model",
    "load_model_spec": "spec.model_catalog:load_model_spec",
    "load_plan": "spec.load:load_plan",
    "squeeze": "learn.tokens.squeeze:squeeze",
    "trace": "estimator.trace:trace",
    "track": "run.track:track",
}

__all__ = [
    "Cost",
    "DataSpec",
    "DeviceSpec",
    "Layout",
    "Ledger",
    "Meter",
    "MicrodollarError",
    "ModelSpec",
    "Op",
    "Plan",
    "Quantity",
    "ServingPlan",
    "TrainSpec",
    "TrainingPlan",
    "Work",
    "__version__",
    "estimate",
    "estimate_work",
    "learner",
    "load_corpus",
    "load_model",
    "load_model_spec",
    "load_plan",
    "squeeze",
    "trace",
    "track",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use (PEP 562) and keep it."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("microdollar")
    elif name in _HOMES:
        module, attribute = _HOMES[name].split(":")
        value = getattr(import_module(f"{__name__}.{module}"), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
