"""Laws that others fitted, with where each number stands."""

from microdollar.errors import UnknownNameError
from microdollar.estimator.scaling.forms import make_form
from microdollar.estimator.scaling.law import Law

KAPLAN_PARAMS = Law(
    form=make_form("params", irreducible=False),
    parameters={"Nc": 8.8e13, "alpha": 0.076},
    unit="nats_per_token",
    name="kaplan-params",
    source="Kaplan et al. 2020, arXiv:2001.08361, equation 1.1 (N without embeddings)",
    ranges={"params": (768.0, 1.5e9)},
)
KAPLAN_TOKENS = Law(
    form=make_form("tokens", irreducible=False),
    parameters={"Dc": 5.4e13, "beta": 0.095},
    unit="nats_per_token",
    name="kaplan-tokens",
    source="Kaplan et al. 2020, arXiv:2001.08361, equation 1.2",
    ranges={"tokens": (2.2e7, 2.3e10)},
)
KAPLAN = Law(
    form=make_form("kaplan", irreducible=False),
    parameters={"Nc": 6.4e13, "alpha_N": 0.076, "Dc": 1.8e13, "alpha_D": 0.103},
    unit="nats_per_token",
    name="kaplan",
    source="Kaplan et al. 2020, arXiv:2001.08361, equation 1.5 and table 2",
    ranges={"params": (768.0, 1.5e9), "tokens": (2.2e7, 2.3e10)},
)
CHINCHILLA = Law(
    form=make_form("chinchilla"),
    parameters={"A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28, "E": 1.69},
    unit="nats_per_token",
    name="chinchilla",
    source="Hoffmann et al. 2022, arXiv:2203.15556, equation 10",
    ranges={"params": (4.4e7, 1.61e10), "tokens": (2e8, 4e11)},
)
EPOCH = Law(
    form=make_form("chinchilla"),
    parameters={"A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658, "E": 1.8172},
    unit="nats_per_token",
    name="epoch",
    source="Besiroglu et al. 2024, arXiv:2404.10102, table 1 (Hoffmann's points fitted again)",
    ranges={"params": (4.4e7, 1.61e10), "tokens": (2e8, 4e11)},
)
LAWS = {law.name: law for law in (CHINCHILLA, EPOCH, KAPLAN, KAPLAN_PARAMS, KAPLAN_TOKENS)}

EPOCH_INTERVALS = {
    "A": (285.2, 743.6),
    "alpha": (0.317, 0.373),
    "B": (1042.4, 5810.3),
    "beta": (0.331, 0.415),
    "E": (1.769, 1.871),
}
"""95 % bootstrap intervals of Besiroglu et al. 2024 (their published notebook)."""
HOFFMANN_SHARES = {
    "approach 1, minima over curves": (0.50, 0.488, 0.502),
    "approach 2, curves of equal cost": (0.49, 0.462, 0.534),
    "approach 3, the parametric fit": (0.46, 0.454, 0.455),
}
"""Exponent a of optimal N over compute, C**a, with its 80 % interval (Hoffmann et al., table 2)."""


def published_law(name: str) -> Law:
    """One of ``LAWS``.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if name not in LAWS:
        raise UnknownNameError("law", name, LAWS, "Or name a file that `scaling fit -o` wrote.")
    return LAWS[name]
