"""``md.estimate``: any plan, priced on its device, with what past steps in the ledger say."""

from typing import TYPE_CHECKING, overload

from microdollar.errors import UsageError
from microdollar.estimator.training import TrainingEstimate, estimate_training
from microdollar.run.device import find_device
from microdollar.spec.device import DeviceSpec
from microdollar.spec.home import LEDGER_NAME, home_folder
from microdollar.spec.plan import Plan
from microdollar.spec.training import ServingPlan, TrainingPlan

if TYPE_CHECKING:
    from microdollar.estimator.compose import Estimate
    from microdollar.estimator.serving import ServingEstimate
    from microdollar.ledger import Ledger

PATIENCE_SECONDS = 0.1
"""How long an estimate waits for another process's transaction, three times."""


@overload
def estimate(
    plan: Plan, *, device: DeviceSpec | None = None, ledger: "Ledger | None" = None
) -> "Estimate": ...


@overload
def estimate(
    plan: TrainingPlan | ServingPlan,
    *,
    device: DeviceSpec | None = None,
    ledger: "Ledger | None" = None,
) -> "TrainingEstimate | ServingEstimate": ...


def estimate(
    plan: Plan | TrainingPlan | ServingPlan,
    *,
    device: DeviceSpec | None = None,
    ledger: "Ledger | None" = None,
) -> "Estimate | TrainingEstimate | ServingEstimate":
    """What a plan will cost: nothing is run, but ``this`` machine is calibrated if it never was.

    Args:
        plan: of a learner of this package, of a model's training, or of its serving.
        device: the plan's device, if it was looked up before.
        ledger: measured steps of training plans; the user's own if None. One that is missing is
            not made, and one that can't be read is named among the assumptions.

    Returns:
        An estimate: every number with its 80 % interval, and what was assumed.

    Raises:
        UnknownNameError: if the plan's device or learner is not known.
        CannotEstimateError: if a rate that the plan needs is not known.
        UsageError: if it is no plan, or the learner does not take an option of it.

    Examples:
        >>> import microdollar as md
        >>> plan = md.load_plan("rl-token-compression").plan
        >>> md.estimate(plan).parameters
        125491169
    """
    if device is None:
        device = find_device(plan.device, calibrate_if_missing=True, progress=lambda *_: None)
    if isinstance(plan, TrainingPlan):
        return _training(plan, device, ledger)
    if isinstance(plan, ServingPlan):
        from microdollar.estimator.serving import estimate_serving

        return estimate_serving(plan, device)
    if isinstance(plan, Plan):
        from microdollar.estimator.compose import estimate_work
        from microdollar.learn.registry import create

        return estimate_work(create(plan.learner, **plan.options).work(plan.data), device)
    raise UsageError(f"estimate takes a plan, got {type(plan).__name__}. Try md.load_plan(name).")


def _training(plan: TrainingPlan, device: DeviceSpec, ledger: "Ledger | None") -> TrainingEstimate:
    if ledger is None:
        if not (home_folder() / LEDGER_NAME).exists():
            return estimate_training(plan, device)
        from microdollar.ledger import Ledger

        ledger = Ledger(busy_seconds=PATIENCE_SECONDS)
    from microdollar.run.past import estimate_with_past

    return estimate_with_past(plan, device, ledger)
