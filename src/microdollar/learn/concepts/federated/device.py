"""The client's side of learning together: its version of the model and what it has yet to send."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from microdollar.errors import DeltaError
from microdollar.files import whole_file
from microdollar.learn.concepts.codec import ErrorFeedback
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, fingerprint
from microdollar.learn.concepts.federated.coordinator import digest
from microdollar.learn.concepts.journal import apply_delta


@dataclass(slots=True, kw_only=True)
class Device:
    """What a client must not lose between two rounds.

    Its parameters are always a version that the server made: what it learned itself is in the
    update that it sent (``pending``), until the server says that it was taken in, and in the
    residual. An update that got lost on its way returns to the residual, so that a client
    that was killed, or whose server was, sends it again with the next one.
    """

    config: CoreConfig
    params: Floats
    """(n_params,)."""
    residual: Floats
    """(n_params,), what coding and lost messages have left over."""
    pending: bytes = b""
    """The last update sent."""
    pending_base: str = ""
    """Fingerprint of the model that it was made for."""
    version: str = ""
    """Fingerprint of ``params``."""

    @classmethod
    def fresh(cls, config: CoreConfig, params: Floats) -> Self:
        """A client that has not sent anything yet."""
        return cls(
            config=config, params=params.copy(), residual=np.zeros_like(params),
            version=fingerprint(params, config),
        )  # fmt: skip

    @property
    def pending_digest(self) -> str:
        """Name of the update that may or may not have arrived; empty if there is none."""
        return digest(self.pending) if self.pending else ""

    def settle(self, taken: bool) -> None:
        """What the server says about the pending update.

        Raises:
            DeltaError: if the pending update is damaged.
        """
        if self.pending and not taken:
            feedback = ErrorFeedback(residual=self.residual)
            feedback.take_back(self.pending, self.pending_base)
            self.residual = feedback.residual
        self.pending, self.pending_base = b"", ""

    def catch_up(self, chain: Sequence[bytes], whole: bytes, version: str) -> None:
        """Bring the model to the server's version.

        Args:
            chain: deltas since the version at hand, oldest first.
            whole: all parameters, little-endian float32, instead; or empty.
            version: fingerprint that the result must have.

        Raises:
            DeltaError: if the result is another; the model is then what it was.
        """
        if whole:
            if len(whole) != self.params.nbytes:
                raise DeltaError(
                    f"a model of {len(whole)} bytes came, this one has {self.params.nbytes}."
                )
            params = np.frombuffer(whole, "<f4").astype(np.float32)
        else:
            params, at = self.params, self.version
            for data in chain:
                params = apply_delta(data, params, at)
                at = fingerprint(params, self.config)
        found = fingerprint(params, self.config)
        if found != version or not np.isfinite(params).all():
            raise DeltaError(
                f"the server's model is {version[:12]}..., and what came leads to "
                f"{found[:12]}.... Join again to get the whole model."
            )
        self.params, self.version = params, found

    def update(self, learned: Floats, method: str, share: float) -> bytes:
        """The message to send for what was learned from this version, which is then pending.

        Args:
            learned: parameters after local training, (n_params,).
            method: of the codec.
            share: of the codec.

        Raises:
            DeltaError: if they aren't finite; nothing has changed.
        """
        feedback = ErrorFeedback(residual=self.residual)
        data = feedback.encode(
            learned - self.params, method=method, share=share, base_fingerprint=self.version
        )
        self.residual, self.pending, self.pending_base = feedback.residual, data, self.version
        return data

    def to_bytes(self) -> bytes:
        """All of it, for a file."""
        packed = io.BytesIO()
        np.savez(
            packed, params=self.params, residual=self.residual,
            pending=np.frombuffer(self.pending, np.uint8), pending_base=np.array(self.pending_base),
            version=np.array(self.version),
        )  # fmt: skip
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, config: CoreConfig, data: bytes) -> Self:
        """What ``to_bytes`` made.

        Raises:
            DeltaError: if it is damaged or another model's.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                device = cls(
                    config=config, params=found["params"], residual=found["residual"],
                    pending=found["pending"].tobytes(), pending_base=str(found["pending_base"]),
                    version=str(found["version"]),
                )  # fmt: skip
        except Exception as error:  # numpy raises many kinds for a damaged archive
            raise DeltaError(
                f"a client's saved state is damaged ({str(error)[:80]}). Join as a new client."
            ) from error
        sound = device.residual.shape == device.params.shape == (config.n_params,)
        if not sound or fingerprint(device.params, config) != device.version:
            raise DeltaError("a client's saved state is another model's. Join as a new client.")
        return device

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        with whole_file(path, "wb") as out:
            out.write(self.to_bytes())

    @classmethod
    def load(cls, path: Path, config: CoreConfig, params: Floats) -> Self:
        """From a file; a fresh one with ``params`` if there is none."""
        return (
            cls.from_bytes(config, path.read_bytes())
            if path.exists()
            else cls.fresh(config, params)
        )
