"""What two ways of training would cost on two devices that you don't have.

    python examples/estimate_devices.py [TRAIN_BYTES]

Nothing is run and nothing heavy is imported: a learner states its work, the catalog says what
a device can do, draws and costs, and the estimate is an interval with a basis.
"""

import sys
from collections.abc import Callable

import microdollar as md
from microdollar.spec import load_device
from microdollar.units import format_dollars, format_joules, format_seconds

TRAIN_BYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000_000
WAYS = {
    "rnn-bptt, H = 128": ("rnn-bptt", {"hidden": 128, "epochs": 20}),
    "rnn-bptt, H = 4096": ("rnn-bptt", {"hidden": 4096, "epochs": 20}),
}
DEVICES = ("rtx-4090", "h100-sxm")


def main() -> None:
    """Print one line for each way and device."""
    data = md.DataSpec(bytes=TRAIN_BYTES)
    for title, (name, options) in WAYS.items():
        work = md.learner(name, **options).work(data)
        for device in DEVICES:
            cost = md.estimate_work(work, load_device(device)).cost
            print(
                f"{title:<19} {device:<14}"
                f"  {span(cost.seconds, format_seconds)}"
                f"  {span(cost.joules, format_joules)}"
                f"  {span(cost.dollars, format_dollars)}"
            )


def span(quantity: md.Quantity, form: Callable[[float], str]) -> str:
    """The 80 % interval, or why there is none."""
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return f"unknown ({quantity.reason})"
    return f"{form(quantity.low)} to {form(quantity.high)}"


if __name__ == "__main__":
    main()
