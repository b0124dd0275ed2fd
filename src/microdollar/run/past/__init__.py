"""Measured steps of training plans in the ledger, and what they teach the next estimate."""

from microdollar.run.past.fits import PastFits, estimate_with_past, fits_from_ledger, record_step
from microdollar.run.past.steps import Measured, PastStep, past_steps, read_steps

__all__ = [
    "Measured",
    "PastFits",
    "PastStep",
    "estimate_with_past",
    "fits_from_ledger",
    "past_steps",
    "read_steps",
    "record_step",
]
