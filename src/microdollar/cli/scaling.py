"""``microdollar scaling``: laws of the loss from finished runs, and what they say of a budget."""

import click

from microdollar.cli.scaling_fit import fit
from microdollar.cli.scaling_predict import predict


@click.group(short_help="What a ten times larger model gives, from runs.")
def scaling() -> None:
    """Fit the loss as a formula of size and data, and ask it what a budget buys.

    docs/scaling.md says what our own runs and the published ones give.
    """


for _command in (fit, predict):
    scaling.add_command(_command)
