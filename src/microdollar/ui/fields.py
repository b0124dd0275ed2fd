"""The fields of the planner's form: those of ``microdollar estimate``, empty where not typed."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from microdollar.estimator.step.fits import shipped_fits
from microdollar.spec.build import PRECISIONS
from microdollar.spec.device_catalog import device_aliases
from microdollar.spec.grids import list_grids
from microdollar.spec.load import list_plans, load_plan
from microdollar.spec.model_catalog import model_aliases
from microdollar.spec.plan import Plan
from microdollar.spec.training import OPTIMIZERS

Kind = Literal["count", "stage", "number", "choice", "word"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of the form, which is one option of the command."""

    name: str
    """In the form and in ``microdollar.spec.build.OPTIONS``."""
    label: str
    served: str = ""
    """Label where a model is served, if it is another one."""
    kind: Kind = "count"
    """What is read: a whole number from 1, one from 0 to 3, any number, a choice or a word."""
    choices: tuple[tuple[str, str], ...] = ()
    """Value and label of each."""
    empty: str = ""
    """What an empty field means."""
    serving: bool = False
    """Whether it is also asked where a model is served."""

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return "--seq" if self.name == "sequence" else f"--{self.name.replace('_', '-')}"


def _same(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple((value, value) for value in values)


RUN = (
    Field(name="tokens", label="Training tokens", empty="one step"),
    Field(name="generate", label="New tokens", empty="needed", serving=True),
    Field(name="sequence", label="Sequence", served="Prompt", empty="2,048 or most", serving=True),
    Field(name="batch", label="Batch", empty="one a replica", serving=True),
    Field(name="micro_batch", label="Micro-batch", empty="batch / dp"),
    Field(
        name="optimizer",
        label="Optimizer",
        kind="choice",
        choices=_same(*OPTIMIZERS),
        empty="adamw",
    ),
    Field(
        name="dtype",
        label="Precision",
        kind="choice",
        choices=_same(*PRECISIONS),
        empty="as usual",
        serving=True,
    ),
    Field(
        name="recompute",
        label="Recompute",
        kind="choice",
        choices=_same("none", "selective", "full"),
        empty="none",
    ),
)
"""What is done with the model."""

LAYOUT = (
    Field(name="dp", label="Data parallel", empty="the rest", serving=True),
    Field(name="tp", label="Tensor parallel", empty="1", serving=True),
    Field(name="pp", label="Pipeline stages", empty="1", serving=True),
    Field(
        name="zero",
        label="ZeRO stage",
        kind="stage",
        choices=(("0", "0"), ("1", "1"), ("2", "2"), ("3", "3 (FSDP)")),
        empty="0",
    ),
    Field(name="cp", label="Context parallel", empty="1", serving=True),
    Field(name="ep", label="Expert parallel", empty="1", serving=True),
)
"""How it is spread over devices."""

MORE = (
    Field(
        name="attention",
        label="Attention",
        kind="choice",
        choices=_same("fused", "naive"),
        empty="fused",
    ),
    Field(
        name="offload",
        label="Offload",
        kind="choice",
        choices=_same("none", "optimizer", "all"),
        empty="none",
    ),
    Field(name="lora", label="LoRA rank", empty="train all"),
    Field(name="pue", label="PUE", kind="number", empty="1.1"),
    Field(
        name="region",
        label="Power grid",
        kind="choice",
        choices=_same(*(grid.name for grid in list_grids())),
        empty="world",
    ),
    Field(name="stack", label="Software", kind="word", empty="ordinary"),
)
"""What is seldom changed."""

COUNT = Field(name="count", label="Devices", empty="1", serving=True)
FIELDS = (COUNT, *RUN, *LAYOUT, *MORE)
"""Every option of the form."""
FLAGS = {field.name: field.flag for field in FIELDS}


@cache
def model_names() -> tuple[str, ...]:
    """Models of the catalog, then plans of layers that ship with the package."""
    plans = [name for name in list_plans() if not isinstance(load_plan(name).plan, Plan)]
    return tuple(dict.fromkeys((*model_aliases(), *plans)))


@cache
def stack_names() -> tuple[str, ...]:
    """Software whose steps were measured, so that an estimate tells it from others."""
    return tuple(dict.fromkeys(name for fit in shipped_fits() for name in fit.stacks))


@cache
def device_choices() -> tuple[tuple[str, str], ...]:
    """Short and full name of each device."""
    return tuple((aliases[0], name) for name, aliases in device_aliases().items())
