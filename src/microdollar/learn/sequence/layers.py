"""The sequence layers by name, and the sizes that they share. Imports no torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from microdollar.errors import MissingExtraError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from microdollar.learn.sequence.layer_torch import SequenceLayer

LAYERS = {
    "attention-naive": ("attention_torch:NaiveAttention", "softmax attention, scores written out"),
    "attention": ("attention_torch:FusedAttention", "softmax attention, torch's fused kernel"),
    "linear-attention": ("linear_torch:LinearAttention", "attention without softmax, in chunks"),
    "state-space": ("state_space_torch:StateSpace", "selective state space, a blocked scan"),
    "rwkv": ("rwkv_torch:RwkvTimeMix", "RWKV-4 time mixing, a blocked scan"),
    "elman": ("elman_torch:Elman", "recurrent network, one position after the other"),
    "shift-register": ("shift_register_torch:ShiftRegister", "the last inputs, and a readout"),
}
"""Name of each layer: its class within this folder, and its line in the help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSizes:
    """What a layer is made of; each takes of it what it has.

    Raises:
        UsageError: if a size is not a whole number of at least 1, or the heads do not divide the
            width into an even number of features.
    """

    width: int
    """Features of a position, W."""
    heads: int = 1
    """Of both attentions."""
    expand: int = 2
    """Inner width of the state-space layer, in widths (Mamba, arXiv:2312.00752, section 3.4)."""
    state: int = 16
    """Numbers of state for each inner feature of the state-space layer (the same)."""
    conv: int = 4
    """Taps of its causal convolution (the same)."""
    taps: int = 4
    """Inputs that the shift register holds; 4 give as many weights as attention has."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}.")
        if self.width % (2 * self.heads):
            raise UsageError(
                f"{self.heads} heads must divide the width {self.width} into even parts."
            )

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.width // self.heads

    @property
    def inner(self) -> int:
        """Features of the state-space layer's inside."""
        return self.expand * self.width

    @property
    def dt_rank(self) -> int:
        """Rank of the state-space layer's step, a sixteenth of the width (Mamba's default)."""
        return -(-self.width // 16)


def make_layer(name: str, sizes: LayerSizes) -> "SequenceLayer":
    """A layer with freshly drawn weights (torch's generator, float32).

    Args:
        name: one of ``LAYERS``.
        sizes: what it is made of.

    Raises:
        UnknownNameError: if there is no such layer.
        MissingExtraError: if torch is not installed.
    """
    if name not in LAYERS:
        raise UnknownNameError("layer", name, LAYERS)
    module, attribute = LAYERS[name][0].split(":")
    try:
        found = import_module(f"microdollar.learn.sequence.{module}")
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "a sequence layer") from error
    layer: SequenceLayer = getattr(found, attribute)(sizes)
    return layer
