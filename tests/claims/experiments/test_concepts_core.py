"""What the concept learner takes, against formulas and its own weights."""

import numpy as np
import pytest

from microdollar.claims.experiments import concepts_core
from microdollar.claims.record import recorded
from microdollar.learn.concepts.codec import encoded_bytes
from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core
from microdollar.work.formulas.concepts import ConceptSizes, step_work

SMALL = CoreConfig(dim=32, width=16, heads=2, context=4)


def test_the_recorded_bytes_are_those_of_the_formulas():
    values = recorded("concepts_core").values
    sizes = ConceptSizes()
    assert values["parameters"].value == sizes.parameters
    assert values["weight_bytes"].value == 4 * sizes.parameters
    assert values["tensor_bytes"].value == step_work(sizes).memory_bytes
    assert values["lowbit_bytes"].value == step_work(sizes, optimizer="adam-lowbit").memory_bytes
    assert values["delta_bytes"].value == encoded_bytes(sizes.parameters, share=concepts_core.SENT)
    assert values["wrong_rollbacks"].value == 0


def test_steps_learn():
    core = Core(SMALL, negatives=8)
    before = core.params.copy()
    assert len(concepts_core.steps(core, 3)) == 3
    assert np.isfinite(core.params).all()
    assert not np.array_equal(core.params, before)


def test_rollbacks_give_earlier_weights_bit_for_bit(tmp_path):
    delta, took, wrong = concepts_core.rollbacks(SMALL, tmp_path, changes=5, number=9)
    assert delta == encoded_bytes(SMALL.n_params, share=concepts_core.SENT)
    assert len(took) == 9
    assert wrong == 0


def test_a_framework_holds_weights_gradients_and_both_moments():
    pytest.importorskip("torch")
    assert concepts_core.framework_bytes(SMALL) > 16 * SMALL.n_params


def test_a_process_holds_more_than_its_tensors():
    found = concepts_core.process_bytes()
    if isinstance(found, str):
        pytest.skip(found)
    assert found > step_work(ConceptSizes()).memory_bytes
