"""Optimizers with small state; importing this imports torch."""

from microdollar.learn.optim.collins import Collins
from microdollar.learn.optim.count_sketch import CountSketch
from microdollar.learn.optim.state_bytes import optimizer_state_bytes

__all__ = ["Collins", "CountSketch", "optimizer_state_bytes"]
