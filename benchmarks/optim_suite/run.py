"""Runs the bodies of PyTorch's own optimizer tests on Collins.

    python benchmarks/optim_suite/run.py PYTORCH/test/test_optim.py [--out results.json]

The file is one of a checkout of pytorch/pytorch at the version that is installed; nothing of it is
copied here. Each way to keep moments is registered as an ``OptimizerInfo`` in place of torch's
own optimizers, and every test of ``TestOptimRenewed`` runs for each. The tests' tensors have few
elements, so that Collins keeps exact moments for them; the variants named ``...Coded`` code all
of two dimensions, however small. About three minutes of one core. Needs the package expecttest.
"""

import argparse
import functools
import hashlib
import importlib.util
import json
import sys
import unittest
import warnings
from collections import Counter
from pathlib import Path

import torch
from torch.testing._internal import common_optimizers as common

import microdollar.work.formulas.collins as rule
from microdollar.learn.optim import Collins

VARIANTS = {
    "Collins": {},
    "CollinsFourBits": {"m_state": "4bit"},
    "CollinsMini": {"m_state": "1bit"},
    "CollinsSketch": {"m_state": "sketch", "v_state": "sketch", "compression": 2},
}


def main() -> None:
    arguments = parsed()
    common.optim_db[:] = infos()
    # Two columns will do for a matrix here: the tests' tensors have no more.
    rule.NARROW = 2
    module = loaded(arguments.test_file)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    chosen = unittest.TestSuite(
        test for test in flat(suite) if type(test).__name__.startswith("TestOptimRenewed")
    )
    warnings.simplefilter("ignore")
    outcome = Outcome()
    chosen.run(outcome)
    report = summary(outcome, arguments)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["counts"]))
    for row in report["failed"]:
        print("failed", row["test"], row["reason"])
    sys.exit(bool(report["failed"]))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("test_file", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    parser.add_argument("--note", default="", help="where the file is from, if not a checkout")
    return parser.parse_args()


def infos() -> list[common.OptimizerInfo]:
    """Each variant with the rule for small tensors, and with all coded."""
    found = []
    for name, options in VARIANTS.items():
        found.append(info(name, options, ("foreach", "differentiable", "fused")))
        # No gradient flows through codes, which differentiable=True says in an error.
        coded = {**options, "exact_below": 2}
        found.append(info(f"{name}Coded", coded, ("foreach", "fused")))
    return found


def info(name: str, options: dict[str, object], ways: tuple[str, ...]) -> common.OptimizerInfo:
    def initialize(self: Collins, params: object, *args: object, **more: object) -> None:
        Collins.__init__(self, params, *args, **{**options, **more})

    return common.OptimizerInfo(
        type(name, (Collins,), {"__init__": functools.wraps(Collins.__init__)(initialize)}),
        optim_inputs_func=inputs,
        # AdamW's: the same errors with the same first words.
        optim_error_inputs_func=common.optim_error_inputs_func_adamw,
        supported_impls=ways,
        not_og_supported_flags=("foreach", "differentiable", "fused", "maximize", "capturable"),
        has_capturable_arg=True,
        supports_complex=False,
        supports_fused_on=("cpu", "cuda"),
    )


def inputs(device: object, dtype: object = None) -> list[common.OptimizerInput]:
    """AdamW's for a CPU, but for amsgrad; the default has no decay.

    One test wants steps of zero gradients to change nothing, and excepts AdamW's decay by name.
    """
    del device, dtype
    every = (
        {"weight_decay": 0.0},
        {"lr": 0.01},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "maximize": True},
        {"betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.01},
        {"nonfinite": "raise", "rounding": "nearest", "weight_decay": 0.01},
    )
    made = []
    for kwargs in every:
        kwargs = {"weight_decay": 0.01, **kwargs}
        made.append(common.OptimizerInput(params=None, kwargs=kwargs, desc=str(kwargs)))
    return made


def loaded(path: Path) -> object:
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location("torch_test_optim", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def flat(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    return [
        test
        for part in suite
        for test in (flat(part) if isinstance(part, unittest.TestSuite) else [part])
    ]


class Outcome(unittest.TestResult):
    """Which tests passed, too."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[unittest.TestCase] = []

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.passed.append(test)


def summary(outcome: Outcome, arguments: argparse.Namespace) -> dict[str, object]:
    failed = [
        {"test": name_of(test), "reason": reason_of(text)}
        for test, text in (*outcome.failures, *outcome.errors)
    ]
    reasons = Counter(reason for _, reason in outcome.skipped)
    return {
        "torch": torch.__version__,
        "test_file": {
            "sha256": hashlib.sha256(arguments.test_file.read_bytes()).hexdigest(),
            "note": arguments.note,
        },
        "variants": {one.name: one.supported_impls for one in common.optim_db},
        "counts": {
            "passed": len(outcome.passed),
            "failed": len(failed),
            "skipped": len(outcome.skipped),
        },
        "failed": failed,
        "skipped": [{"reason": reason, "tests": count} for reason, count in reasons.items()],
        "passed": sorted(name_of(test) for test in outcome.passed),
    }


def reason_of(text: str) -> str:
    """The line of a traceback that says what was wrong."""
    lines = text.strip().splitlines()
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1])


def name_of(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


if __name__ == "__main__":
    main()
