"""Colours of the parts of memory, beside those of the report's page."""

from microdollar.report.theme import COMPRESSOR, COUNTED, STEP, TRAINED, Colour

PART_COLOURS = (
    Colour(name="weights", light=COUNTED.light, dark=COUNTED.dark),
    Colour(name="gradients", light="#1f6fb5", dark="#7ab8f2"),
    Colour(name="optimizer", light=TRAINED.light, dark=TRAINED.dark),
    Colour(name="activations", light=COMPRESSOR.light, dark=COMPRESSOR.dark),
    Colour(name="cache", light="#a8326e", dark="#f08bb8"),
    Colour(name="rest", light=STEP.light, dark=STEP.dark),
)
