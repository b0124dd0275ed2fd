"""What kernels hold within a call against what torch's allocator reports to its profiler."""

from itertools import accumulate

import pytest
import torch
from torch import nn

from microdollar.estimator.trace import trace_step

MODULES = {
    "one convolution": (lambda: nn.Conv2d(32, 48, 3, bias=False), (4, 32, 20, 20)),
    "odd channels": (lambda: nn.Conv2d(50, 70, 5, bias=False), (4, 50, 15, 15)),
    "stride": (lambda: nn.Conv2d(32, 64, 3, stride=2, bias=False), (4, 32, 32, 32)),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64)),
        (4, 16, 32, 32),
    ),
    "lstm": (lambda: nn.LSTM(64, 96), (20, 8, 64)),
    "products": (lambda: nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 8)), (99, 64)),
}


def mean(output):
    return (output[0] if isinstance(output, tuple) else output).pow(2).mean()


def reported(make, shape):
    """Highest running sum of what the allocator tells, all of it made within."""

    def run():
        module, x = make(), torch.randn(shape, requires_grad=True)
        for _ in range(2):
            step(module, x)

    def step(module, x):
        module.zero_grad()
        x.grad = None
        mean(module(x)).backward()

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="kernels of oneDNN")
@pytest.mark.parametrize("name", MODULES)
def test_the_allocators_peak(name):
    make, shape = MODULES[name]
    traced = trace_step(make(), torch.zeros(shape, requires_grad=True), loss=mean)
    # Blocked layouts follow the processor, and kernels keep small buffers besides.
    assert traced.allocator_peak_bytes == pytest.approx(reported(make, shape), rel=0.10)
    assert traced.allocator_peak_bytes >= traced.peak_bytes
