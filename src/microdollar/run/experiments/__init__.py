"""The study of the sat-rnn from one command: ordered, priced, resumed, and written as a page."""

from microdollar.run.experiments.orders import RESULTS, SCALES, Order, run_experiments
from microdollar.run.experiments.page import page

__all__ = ["RESULTS", "SCALES", "Order", "page", "run_experiments"]
