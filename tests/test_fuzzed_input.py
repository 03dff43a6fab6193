"""Random and mutated specs, overrides and expressions end in a result or in a sentence, never in a traceback.

`DLX_FUZZ=40000 pytest -m slow tests/test_fuzzed_input.py` tries 40,000 inputs of each of the ten kinds.
"""

import os

import pytest
from fuzzing import KINDS, Fuzzer, fuzzed

FEW = {"mutated specs, planned": 25, "overrides": 15, "sweeps": 40}
"""Inputs of the slower kinds in a quick run."""
MANY = int(os.environ.get("DLX_FUZZ", "2000"))


def test_every_kind_is_tried(tmp_path):
    assert tuple(Fuzzer(tmp_path).kinds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_end_in_a_result_or_a_sentence(kind):
    report = fuzzed(kind, FEW.get(kind, 60), seed=0)
    assert report.failures == []
    assert report.outcomes["refused"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_inputs_end_in_a_result_or_a_sentence(kind):
    report = fuzzed(kind, MANY, seed=1)
    assert report.failures == []
    assert report.outcomes["a result"] > 0
    assert report.outcomes["refused"] > 0
