"""How fast devices of one layout reach each other: every exchange over its slowest link.

Ranks are placed in Megatron's order, tensor-parallel ones side by side, then replicas, then
pipeline stages (arXiv:2104.04473, section 3).
"""

from dataclasses import dataclass

from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import Layout

PLAIN_LINK_BYTES_PER_SECOND = 25e9
"""One direction between two devices of a node without a link of their own (PCIe 4 x16, assumed)."""
NETWORK_SHARE = 1 / 48
"""Bytes per second to other nodes for each device, over those of the link beside it: 12.5 GB/s
where the link is 600 GB/s, four adapters of 200 Gb/s for eight devices (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """One layout on one device, bytes per second in one direction."""

    near: float
    """Between two devices of a node."""
    network: float
    """To other nodes, for each device of a node."""
    layout: Layout

    def group(self, size: int, stride: int) -> float:
        """What each rank of a ring gets: ``size`` ranks, ``stride`` devices apart.

        All rings of a node share its adapters, and a ring uses its share once however many of
        its ranks are in the node.
        """
        node = self.layout.devices_per_node
        if (size - 1) * stride < node:
            return self.near
        inside = max(1, min(size, node // stride))
        return min(self.near, self.network * inside)

    def stage(self) -> float:
        """To the next pipeline stage."""
        away = self.layout.tp * self.layout.cp * self.layout.dp
        return self.near if away * self.layout.pp <= self.layout.devices_per_node else self.network

    def gather(self, total_bytes: float, size: int, stride: int) -> float:
        """Seconds until every rank has all of ``total_bytes`` (or has reduced its part)."""
        if size <= 1:
            return 0.0
        return total_bytes * (size - 1) / size / self.group(size, stride)

    def all_reduce(self, total_bytes: float, size: int, stride: int) -> float:
        """Seconds of a ring all-reduce: a reduce-scatter and an all-gather."""
        return 2 * self.gather(total_bytes, size, stride)


def device_links(device: DeviceSpec, layout: Layout) -> Links:
    """The links of ``device`` under ``layout``.

    The catalog prints both directions of a link together.
    """
    link = device.link_bytes_per_second.value
    if not link:
        return Links(
            near=PLAIN_LINK_BYTES_PER_SECOND,
            network=PLAIN_LINK_BYTES_PER_SECOND / 2,
            layout=layout,
        )
    return Links(near=link / 2, network=link * NETWORK_SHARE, layout=layout)
