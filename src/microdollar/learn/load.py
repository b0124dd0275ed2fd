"""A saved model, whichever learner made it."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.errors import ModelFileError, nearest
from microdollar.learn.files import CONFIG_NAME, read_config

if TYPE_CHECKING:
    from microdollar.learn.base import Model

NETWORKS = {
    "ngram": "microdollar.learn.counts.ngram.model:NGramModel",
    "ngram-quantized": "microdollar.learn.counts.ngram.quantize:QuantizedFile",
    "counted": "microdollar.learn.counts.mixed.model:CountedModel",
    "elman": "microdollar.learn.elman:ElmanModel",
    "lstm": "microdollar.learn.gradient.lstm_model:LSTMModel",
    "gpt": "microdollar.learn.gradient.gpt_model:GPTModel",
}
"""``module:class`` by the value of ``network`` in ``config.json``."""


def load_model(folder: str | Path) -> "Model":
    """The model that ``microdollar build`` or ``Model.save`` wrote to ``folder``.

    Args:
        folder: with ``config.json`` and ``model.safetensors``.

    Returns:
        The model, which scores and predicts bytes as before it was saved.

    Raises:
        ModelFileError: if the folder does not hold a model, or holds a damaged or foreign one;
            the message names the file.

    Examples:
        >>> import tempfile
        >>> import microdollar as md
        >>> text = md.load_corpus("python-docs", limit=3000).data
        >>> model = md.learner("ngram", order=3).fit(text[:2000])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     again = md.load_model(folder)
        >>> again.bits_per_byte(text[2000:]) == model.bits_per_byte(text[2000:])
        True
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a model's folder" if folder.exists() else "does not exist"
        raise ModelFileError(f"{folder} {what}. Type: microdollar build CORPUS -o FOLDER")
    network = str(read_config(folder)["network"])
    if network not in NETWORKS:
        near = nearest(network[:60], NETWORKS)
        said = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(NETWORKS)}."
        raise ModelFileError(f"{folder / CONFIG_NAME} names the network {network[:60]!a}. {said}")
    module, attribute = NETWORKS[network].split(":")
    model: Model = getattr(import_module(module), attribute).load(folder)
    return model
