"""What a training step of any torch module does and holds, without running it.

    work = trace(module, inputs, targets=y, loss=cross_entropy, optimizer="adamw")

Forward, loss, backward and optimizer step run on fake tensors (shapes without memory): every
operator is counted, and peak memory comes from replaying the life of every storage in order.
torch is imported when a module is traced, not before.
"""

from microdollar.estimator.trace.step import StepTrace, trace, trace_step

__all__ = ["StepTrace", "trace", "trace_step"]
