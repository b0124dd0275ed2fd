"""``docs/scaling.md`` and its picture, from the results of the fits.

python benchmarks/scaling/page.py
"""

import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from figure import picture

from microdollar.claims import check_claims
from microdollar.claims.text import verdict_text
from microdollar.claims.world import World
from microdollar.estimator.scaling import halved
from microdollar.units import format_bytes, format_dollars, format_si

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE, PICTURE = DOCS / "scaling.md", DOCS / "scaling.svg"
DOCUMENT = "efficient-reasoning"
SAID = ("loss-1b-10b", "loss-10b-100b", "loss-100b-1t")
"""Its claims of each tenfold."""
GOAL = 0.03
"""Median error of loss that is asked for of the dearer half."""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name).read_text("utf-8"))
    return found


def page(own: dict[str, Any], published: dict[str, Any], coverage: dict[str, Any]) -> str:
    """The whole document."""
    parts = [
        _introduction(own),
        "\n".join(_own(own)),
        "\n".join(_held_out(own, published)),
        "\n".join(_published(published)),
        "\n".join(_verdicts(own, published)),
        "\n".join(_coverage(coverage)),
        _LIMITS,
    ]
    return "\n".join(map(_wrapped, "\n\n".join(parts).split("\n"))) + "\n"


def _wrapped(line: str) -> str:
    """A line of prose in lines of 100; tables and commands stay."""
    if line.startswith(("|", "$", "!")):
        return line
    later = "  " if line.startswith("- ") else ""
    return "\n".join(
        textwrap.wrap(
            line, 100, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
        )
    )


def _introduction(own: dict[str, Any]) -> str:
    runs = own["runs"]
    times = [row["times"] for row in own["compared"]]
    return f"""\
# Scaling laws

What does a ten times larger model give, and what does it cost? `microdollar scaling fit` answers
from finished runs, `microdollar scaling predict` from a law:

<!-- given: benchmarks/scaling/runs.csv -->
```console
$ microdollar scaling fit runs.csv --group-by learner --hold-out dearer-half -o law.json
$ microdollar scaling predict law.json --group gpt --params 1M --tokens 100M
$ microdollar scaling predict epoch --budget-dollars 1e6 --device h100-sxm
$ microdollar claims --document efficient-reasoning
```

**In short**, of our own small runs: ten times the operations take {_gain(own):.0%} off the bits \
that gradient descent needs for a byte. Counting reaches the same bits for {min(times):,.0f} to \
{max(times):,.0f} times less money, down to {own["compared"][-1]["bits_per_byte"]:g} bits, but \
levels off. What others published: Chinchilla's law, [fitted again](#published-points).

Every number below is computed from `benchmarks/scaling/`: `runs.py` makes the runs
({runs["ngram"]} of `ngram`, {runs["counted"]} of `counted`, {runs["gpt"]} of `gpt`, on one core, on
the first 2 MB of enwik8, the last 100,000 bytes held out), `laws.py` fits them, `published.py` fits
what others published, `coverage.py` measures the intervals, `page.py` writes this page."""


def _own(own: dict[str, Any]) -> Iterator[str]:
    laws = own["laws"]
    yield "## Counting beside gradient descent"
    yield ""
    yield "![Bits per byte against dollars and against data, runs and laws](scaling.svg)"
    yield ""
    yield "| law | fitted | N | D | best N grows as | a run is off by, median |"
    yield "|---|---|---|---|---|---|"
    for name, label, size in (
        ("counting", "counting (`ngram`)", "capacity"),
        ("descent", "gradient descent (`gpt`)", "weights of the blocks"),
    ):
        law = laws[name]
        first, second = (f"{key} = {_with_ends(law, key)}" for key in ("alpha_N", "alpha_D"))
        power = _ends(law["params_exponent"], law["params_exponent_intervals"], "{:.2f}")
        yield (
            f"| {label} | `L = {law['formula']}` on {law['points']} runs | {size}, {first} | "
            f"{second} | C to the {power} | {law['median_residual']:.1%} |"
        )
    yield ""
    yield (
        "Both forms are what the runs themselves chose among four (Chinchilla's and Kaplan's, with "
        "and without an irreducible loss; least Bayesian information criterion). Chinchilla's sum "
        "fits neither: where a small model is the limit, more data helps less, and a sum can't say "
        "so. Brackets are 80 % intervals."
    )
    yield ""
    grown = own["grown"]
    yield (
        "**What is N of a counted network?** The contexts that it holds grow with its text "
        f"(`ngram` of order 8: {format_si(grown['least'])} numbers after "
        f"{format_bytes(grown['from'])}, {format_si(grown['most'])} after "
        f"{format_bytes(grown['to'])}), so L(N) of them "
        "would be a law of data under another name. What is chosen before learning is the order. "
        "So N is its *capacity*: what the same order holds when all 1.9 MB were counted; `laws.py` "
        "puts it in. `scaling fit` on the file as it is takes the stored contexts for N, and gives "
        "counting another law, further off on the dearer half."
    )
    yield ""
    yield "At each order alone, `L = E + (Dc / D)**beta`:"
    yield ""
    yield "| order | E | beta | a run is off by, median |"
    yield "|---|---|---|---|"
    for order in (1, 2, 3, 4, 6, 8):
        law = laws[f"order {order}"]
        unseen = " (not identified)" if law["warnings"] else ""
        yield (
            f"| {order} | {_with_ends(law, 'E', '{:.2f}')}{unseen} | {_with_ends(law, 'beta')} | "
            f"{law['median_residual']:.1%} |"
        )
    yield ""
    yield (
        "A low order runs into its own entropy soon; from order 4 up, 1.9 MB are too little to "
        "see where it ends, and every prediction far beyond hangs on that."
    )
    yield ""
    per_hour = f"${own['dollars_per_core_second'] * 3600:.3f}"
    yield (
        f"**The same bits for how much?** Processor time at {per_hour} per core-hour, along the "
        "runs that no cheaper run beats (`L = E + (Cc / C)**gamma` with C in dollars; counting: "
        f"E {_with_ends(laws['counting, dollars'], 'E', '{:.2f}')}, gamma "
        f"{_with_ends(laws['counting, dollars'], 'gamma')}; gradient descent: gamma "
        f"{_with_ends(laws['descent, dollars'], 'gamma')}):"
    )
    yield ""
    yield "| bits per byte | counting | gradient descent | times |"
    yield "|---|---|---|---|"
    for row in own["compared"]:
        yield (
            f"| {row['bits_per_byte']:g} | {format_dollars(row['counting_dollars'])} | "
            f"{format_dollars(row['descent_dollars'])} | "
            f"{_ends(row['times'], row['intervals'], '{:,.0f}')} |"
        )
    yield ""
    yield _crossing(own["crossing"])
    yield ""
    yield "Where the law of gradient descent puts its best sizes for more operations:"
    yield ""
    yield "| operations | N | D, bytes seen | bits per byte |"
    yield "|---|---|---|---|"
    for times, best in own["tenfold"].items():
        yield (
            f"| {times}x the dearest run, {format_si(best['flops'], 'FLOP')} | "
            f"{format_si(best['params'])} | {format_si(best['tokens'])} | "
            f"{_ends(best['loss'], best['loss_intervals'], '{:.2f}')} |"
        )
    yield ""
    more = own["tenfold"]["1"]["tokens"] / own["most_bytes_seen"]
    yield (
        f"Ten times the operations take off {_gain(own):.0%}. For what our dearest run took the "
        f"law wants {more:.1f} times the bytes that any run saw, so even this is an "
        "extrapolation; and repeated passes count as fresh data, "
        "of which there were 1.9 MB."
    )


def _gain(own: dict[str, Any]) -> float:
    """Part of the bits that ten times the operations of the dearest run take off."""
    return float(1 - own["tenfold"]["10"]["loss"] / own["tenfold"]["1"]["loss"])


def _crossing(found: dict[str, Any]) -> str:
    if found["dollars"] is None:
        return "By these laws gradient descent never has the smaller loss."
    return (
        f"Counting levels off. By these laws gradient descent is ahead from "
        f"{_money(found['dollars'])} on, at {found['bits_per_byte']:.2f} bits per byte "
        f"(80 %: {_money(found['intervals'][0]['low'])} to "
        f"{_money(found['intervals'][0]['high'])}). That is {found['times_descent_runs']:.2g} "
        f"times the dearest run of gradient descent, and {found['times_counting_runs']:,.0f} times "
        "the dearest one of counting: the second is far outside its runs."
    )


def _money(value: float) -> str:
    return "never" if value >= 1e6 else f"${value:.2g}"


def _held_out(own: dict[str, Any], published: dict[str, Any]) -> Iterator[str]:
    yield "## From the cheaper half to the dearer half"
    yield ""
    yield (
        "The cheaper half by operations is fitted, its form chosen by that half alone, and the "
        f"dearer half is predicted. Asked for is a median error of {GOAL:.0%} of loss."
    )
    yield ""
    yield (
        "| runs | fitted, predicted | costs up to | median error | with one run less | largest | "
        "reached |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, held in own["held_out"].items():
        if "reason" in held:
            yield f"| {name} | | | | | | no: {held['reason']} |"
            continue
        yield _held_row(name, held)
    yield _held_row("Chinchilla's 240", published["chinchilla"]["held_out"])
    yield ""
    seeds = own["seeds"]
    if seeds["runs"] > 2:
        yield (
            f"{seeds['runs']} runs of one GPT that differ in their seed alone are "
            f"{seeds['relative_deviation']:.1%} apart (standard deviation)."
        )
        yield ""
    first, second, third = own["largest_gpt"][:3]
    yield (
        f"{_reached(own['held_out'])} Its cheap runs are those of few steps, where size hardly "
        f"matters and the loss has just left that of frequent bytes: the largest GPT's falls by "
        f"{1 - second[1] / first[1]:.1%} from {format_bytes(first[0])} to "
        f"{format_bytes(second[0])} and by {1 - third[1] / second[1]:.1%} from there to "
        f"{format_bytes(third[0])}. A power law of D only ever falls more slowly, so one fitted "
        "before that phase knows nothing of it. The counted networks have no such phase."
    )


def _reached(held_out: dict[str, Any]) -> str:
    every = held_out["gradient descent, all sizes"]
    best = held_out["gradient descent, runs that no cheaper one beats"]
    if every["median_error"] <= GOAL:
        return "Gradient descent reaches it over all sizes."
    text = "Gradient descent misses it over all sizes."
    if best["median_error"] <= GOAL:
        low, high = best["median_errors_with_one_less"]
        text += " Along its best runs the median reaches it"
        if high > GOAL:
            text += (
                f", but one fitted run less moves it anywhere from {low:.1%} to {high:.1%}, and "
                f"the largest error is {best['largest_error']:.1%}: that is luck as much as law"
            )
        text += "."
    return text


def _held_row(name: str, held: dict[str, Any]) -> str:
    reached = "yes" if held["median_error"] <= GOAL else "no"
    low, high = held.get("median_errors_with_one_less", (None, None))
    fewer = "" if low is None else f"{low:.1%} to {high:.1%}"
    return (
        f"| {name} | {held['fitted']}, {held['predicted']} | {held['reach']:.0f}x | "
        f"{held['median_error']:.1%} | {fewer} | {held['largest_error']:.1%} | {reached} |"
    )


def _published(published: dict[str, Any]) -> Iterator[str]:
    found = published["chinchilla"]
    yield "## Published points"
    yield ""
    yield (
        "Hoffmann et al. (2022) trained Chinchilla after such a law. Besiroglu et al. (2024) read "
        "245 of its points off a figure and fitted them again without the 5 of the highest "
        "loss. Ours, on the same points (brackets: 95 %, 2,000 resamples):"
    )
    yield ""
    yield "| | alpha | beta | E | a, of best N = C to the a |"
    yield "|---|---|---|---|---|"
    hoffmann = "| Hoffmann et al., approach 3 | 0.34 | 0.28 | 1.69 | 0.46 [0.454, 0.455] |"
    yield hoffmann
    ends, epoch = found["epoch_intervals"], found["epoch"]
    cells = " | ".join(
        f"{epoch[key]:.3f} [{ends[key][0]:.3f}, {ends[key][1]:.3f}]"
        for key in ("alpha", "beta", "E")
    )
    yield f"| Besiroglu et al. | {cells} | 0.513 |"
    for name, law in found["fits"].items():
        cells = " | ".join(_with_ends(law, key, level=1) for key in ("alpha", "beta", "E"))
        power = _ends(law["params_exponent"], law["params_exponent_intervals"], "{:.3f}", level=1)
        yield f"| ours, {name} | {cells} | {power} |"
    yield ""
    ours = found["fits"]["240 runs, delta 0.001"]
    inside = all(ours["within_published"].values())
    yield (
        "On the 240 points "
        + ("all five parameters" if inside else "not all parameters")
        + " lie within the published intervals"
        + (
            ", with either way to choose where Huber's loss turns linear"
            if all(found["fits"]["240 runs, delta from the residuals"]["within_published"].values())
            else ""
        )
        + ". The five left out matter: with them beta is "
        f"{found['fits']['245 runs, delta 0.001']['parameters']['beta']:.2f}. Hoffmann's own "
        f"interval of a, a thousandth wide, {_held_by(found)}."
    )
    yield ""
    pile = published["pile"]["fits"]
    gamma = published["pile"]["cerebras_published"]
    low, high = found["epoch_intervals"]["alpha"]
    alpha = pile["pythia"]["parameters"]["alpha"]
    where = "within" if low <= alpha <= high else "outside"
    yield (
        f"**Pythia** (8 sizes, 70M to 12B, 300 billion tokens each; loss on the Pile as Dey et al. "
        f"2023 measured it): alpha {_with_ends(pile['pythia'], 'alpha')}, {where} the "
        f"interval of the refit ({low} to {high}), E {_with_ends(pile['pythia'], 'E', '{:.2f}')}. "
        f"**Cerebras-GPT** (7 sizes at 20 tokens a parameter): gamma "
        f"{_with_ends(pile['cerebras-gpt'], 'gamma')} and E "
        f"{_with_ends(pile['cerebras-gpt'], 'E', '{:.2f}')} along operations; its authors publish "
        f"{gamma['gamma']} and {gamma['E']}. Seven points don't say what is irreducible: without "
        f"E the exponent is {_with_ends(pile['cerebras-gpt, no E'], 'gamma')}, as good a fit."
    )


def _held_by(found: dict[str, Any]) -> str:
    _, low, high = found["hoffmann_params_exponents"]["approach 3, the parametric fit"]
    ours = [
        found["fits"][f"240 runs, delta {delta}"]["params_exponent"]
        for delta in ("0.001", "from the residuals")
    ]
    inside = sum(low <= value <= high for value in ours)
    return ("holds neither of ours", "holds one of ours", "holds ours")[inside]


def _verdicts(own: dict[str, Any], published: dict[str, Any]) -> Iterator[str]:
    yield "## What the document says"
    yield ""
    yield (
        "Its chapter IV: `L(N) = (Nc / N)**alpha`; from 1B to 10B parameters the loss falls by "
        'about 30 %, to 100B by 20 %, to 1T by 15 %; "for every 10x increase in parameters, the '
        f'benefit is halved". The verdicts are those of [the claims](claims.md#{DOCUMENT}).'
    )
    yield ""
    yield "| law, data | 1B to 10B | to 100B | to 1T | over the one before | the same of nats |"
    yield "|---|---|---|---|---|---|"
    checked = {one.claim.id: one for one in check_claims([DOCUMENT], World())}
    steps = [checked[f"{DOCUMENT}/IV/{name}"] for name in SAID]
    half = checked[f"{DOCUMENT}/IV/halved"]
    percents = [one.claim.published for one in steps]
    own_ratio = ", ".join(f"{after / before:.2f}" for before, after in pairwise(percents))
    said = " | ".join(f"{percent:g}%" for percent in percents)
    yield f"| the document | {said} | {own_ratio} | |"
    yield f"| verdict | {' | '.join(verdict_text(one) for one in (*steps, half))} | |"
    for table in halved.tables():
        parts = " | ".join(f"{part:.1%}" for part in table.reductions)
        ratios = ", ".join(f"{ratio:.2f}" for ratio in table.ratios)
        nats = ", ".join(f"{ratio:.2f}" for ratio in table.nats_ratios)
        yield f"| {table.law}, {table.data} | {parts} | {ratios} | {nats} |"
    yield ""
    found = published["chinchilla"]
    best = found["forms"][0]
    alone = found["params_alone"]
    counted = own["laws"]["counting"]["parameters"]
    trained = own["laws"]["descent"]["parameters"]
    by_name = {(table.law, table.data): table for table in halved.tables()}
    kaplan = by_name["kaplan-params", "unlimited"]
    hoffmann = by_name["chinchilla", "unlimited"]
    grown = by_name["chinchilla", "best for the compute"]
    refit = by_name["epoch", "unlimited"]
    yield (
        "- **30, 20, 15 %**: the formula that stands above the table in the document "
        f"gives the same part at every decade, {kaplan.reductions[0]:.1%} with Kaplan's "
        f"exponent, and with Chinchilla's irreducible loss the parts are {_parts(hoffmann)} "
        f"({_parts(grown)} if the data grow too)."
    )
    yield (
        '- **"The benefit is halved"**: not by the document\'s own percentages '
        f"({own_ratio}) and not by its own formula ({kaplan.ratios[0]:.2f}). It does hold of "
        f"Chinchilla's form: each tenfold takes off {hoffmann.nats_ratios[0]:.2f} of the nats that "
        f"the one before did, 10 to the power -alpha (refit {refit.nats_ratios[0]:.2f})."
    )
    yield (
        "- **`L(N) = (Nc / N)**alpha`**: quoted rightly from Kaplan et al., equation 1.1. On "
        f"Chinchilla's points it is far behind `{best['formula']}` (criterion "
        f"{alone['criterion']:,.0f} against {best['criterion']:,.0f}, less is better), since "
        "it has neither data nor an irreducible loss."
    )
    yield (
        "- **Our own sizes**: with unlimited data, ten times N takes off "
        f"{1 - 10 ** -trained['alpha_N']:.0%} by the law of gradient descent and ten times the "
        f"capacity {1 - 10 ** -counted['alpha_N']:.0%} by that of counting, the same at every "
        "decade: neither law has an irreducible loss that these runs could show."
    )
    yield ("- **Reasoning depth does not grow with scale**: nothing here measures it.")


def _parts(table: halved.Table) -> str:
    *first, last = (f"{part:.0%}" for part in table.reductions)
    return f"{', '.join(first)} and {last}"


def _coverage(coverage: dict[str, Any]) -> Iterator[str]:
    yield "## How honest the intervals are"
    yield ""
    first = next(iter(coverage.values()))
    yield (
        f"Synthetic runs of known laws with {first['noise']:.0%} noise, {first['datasets']} sets "
        f"each, {first['repeats']} resamples; the part of the intervals that hold the truth."
    )
    yield ""
    yield "| runs | resampled | 80 % intervals of parameters | of a new run, all sizes x10 | 95 % |"
    yield "|---|---|---|---|---|"
    for name, case in coverage.items():
        shares = case["coverage"]
        new = shares["loss ten times beyond"]
        narrow = [one["0.8"] for key, one in shares.items() if key in case["truth"]]
        wide = [one["0.95"] for key, one in shares.items() if key in case["truth"]]
        yield (
            f"| {name} | {case['resampled']} | {min(narrow):.0%} to {max(narrow):.0%} | "
            f"{new['0.8']:.0%} | {min(wide):.0%} to {max(wide):.0%} |"
        )
    yield ""
    yield (
        "They are a little narrow, as percentile intervals of small samples are. Without noise the "
        "parameters come back to a thousandth."
    )


_LIMITS = """\
## Limits

- A law holds for one learner, one kind of text and one way to train. It says nothing of another.
- Predictions more than 10x outside the runs carry a warning, more than 100x are called a guess:
  intervals are those of the form, and whether the form goes on holding no resample can tell.
- Fits are refused with fewer than k + 2 runs for k parameters, fewer than 4 sizes along an axis,
  less than 10x from the smallest to the largest, a loss that is flat or rises, losses of several
  units, or sizes of model and data that only ever grow together.
- Our GPTs are tiny, trained with one learning rate for all sizes and at most 7,364 steps. What
  their law says of N is the law of these settings.
- Processor seconds were measured on a shared machine."""


def _with_ends(law: dict[str, Any], key: str, form: str = "{:.3f}", *, level: int = 0) -> str:
    return _ends(law["parameters"][key], law["intervals"][key], form, level=level)


def _ends(value: float, intervals: list[dict[str, float]], form: str, *, level: int = 0) -> str:
    ends = intervals[level]
    low, high = (form.format(0.0 if end < 1e-3 else end) for end in (ends["low"], ends["high"]))
    return f"{form.format(value)} [{low}, {high}]"


def main() -> None:
    own = read("results.json")
    PAGE.write_text(page(own, read("published.json"), read("coverage.json")), "utf-8")
    PICTURE.write_text(picture(own), "utf-8")


if __name__ == "__main__":
    main()
