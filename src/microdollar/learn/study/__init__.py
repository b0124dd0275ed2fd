"""The study of the trained sat-rnn: every experiment of the document on weight construction.

The document asks whether the 82,304 parameters of a recurrent network can be derived from the
statistics of its data. Each module here is one group of its experiments, as a function from a
``microdollar.learn.study.rows.Study`` (bytes, a trained network, a seed) to rows. A row has
the score on the bytes that were used, the score on bytes that were not, and what it cost.

Formulas are those that the published programs execute, in our own code and words; where the
document's text says something else than its programs do, the docstring says so.
"""

from microdollar.learn.study.catalog import EXPERIMENTS, Experiment
from microdollar.learn.study.rows import Outcome, Slice, Study

__all__ = ["EXPERIMENTS", "Experiment", "Outcome", "Slice", "Study"]
