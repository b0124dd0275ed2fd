"""The compression ratios that the document on Collins derives: four that disagree.

They are here to be compared with measurements, and none of them is a law. The document's
optimum is 34; what its formulas give for its own numbers (beta1 0.9, signal to noise 1.8, error
0.1, failure 0.01) stands at each. All rest on averaging away collisions over the steps of the
moving average, which can't be: a sketch is linear, and with fixed hashes the sketch of the
average is the average of the sketches, noise and all.
"""

import math


def averaging_steps(beta1: float) -> float:
    """(1 + beta1) / (1 - beta1), the document's T_eff: 19 for 0.9."""
    _below("beta1", beta1, 0, 1)
    return (1 + beta1) / (1 - beta1)


def product_limit(beta1: float, signal_to_noise: float) -> float:
    """T_eff x SNR, of chapter V: 34.2 for its numbers, the 34 that is printed."""
    return averaging_steps(beta1) * _positive("signal_to_noise", signal_to_noise)


def squared_limit(beta1: float, signal_to_noise: float) -> float:
    """T_eff x SNR^2, the dependence that chapter VII argues for: 61.6 for its numbers."""
    return averaging_steps(beta1) * _positive("signal_to_noise", signal_to_noise) ** 2


def chernoff_limit(beta1: float, signal_to_noise: float, error: float, failure: float) -> float:
    """error^2 T_eff SNR^2 / (2 ln(2 / failure)), of section 7.2: 0.06 for its numbers.

    There the same numbers are printed as 0.018 x 3.24 x 19 = 34, in which T_eff stands twice;
    that product is 1.1.
    """
    _below("failure", failure, 0, 1)
    signal = squared_limit(beta1, signal_to_noise)
    return _positive("error", error) ** 2 * signal / (2 * math.log(2 / failure))


def counting_limit(size: int, failure: float) -> float:
    """The preface's size / log2(size / failure): 3.8 million for 128 million parameters.

    Args:
        size: elements of the vector.
        failure: probability, as above 0.01.
    """
    _below("failure", failure, 0, 1)
    return size / math.log2(_positive("size", size) / failure)


def _positive(name: str, value: float) -> float:
    if not value > 0 or math.isinf(value):
        raise ValueError(f"{name} must be positive, got {value}.")
    return value


def _below(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ValueError(f"{name} must lie between {low} and {high}, got {value}.")
