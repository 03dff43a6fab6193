"""`modular`: pairs of numbers with the class that arithmetic makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import experiment_of

from dlx.data import DATASETS
from dlx.errors import DataError


def pairs_of(**options: object) -> dict[tuple[int, int], int]:
    """The class of each pair of all parts."""
    sets = DATASETS["modular"](**options).load()
    found = {}
    for part in sets.parts().values():
        a, b = part.x.argmax(2).T
        found |= dict(zip(zip(a.tolist(), b.tolist(), strict=True), part.y.tolist(), strict=True))
    return found


ANSWERS = {
    "add": lambda a, b: (a + b) % 7,
    "subtract": lambda a, b: (a - b) % 7,
    "multiply": lambda a, b: a * b % 7,
    "squares": lambda a, b: (a * a + b * b) % 7,
}


@pytest.mark.parametrize("operation", ANSWERS)
def test_the_class_of_each_pair_is_what_the_operation_makes_of_it(operation: str) -> None:
    found = pairs_of(modulus=7, operation=operation)
    assert found == {(a, b): ANSWERS[operation](a, b) for a in range(7) for b in range(7)}


def test_a_quotient_times_the_divisor_is_the_dividend() -> None:
    found = pairs_of(modulus=7, operation="divide")
    assert len(found) == 42
    assert all(b > 0 and b * c % 7 == a for (a, b), c in found.items())


def test_half_of_the_pairs_are_held_out_and_no_pair_is_in_both_parts() -> None:
    sets = DATASETS["modular"](modulus=10).load()
    assert sets.valid is not None
    assert (len(sets.train), len(sets.valid), sets.test) == (50, 50, None)
    both = np.concatenate([sets.train.x, sets.valid.x]).argmax(2)
    assert len({tuple(pair) for pair in both.tolist()}) == 100


def test_division_wants_a_prime() -> None:
    with pytest.raises(ValueError, match="`divide` has one answer modulo a prime, and 9 is none"):
        DATASETS["modular"](modulus=9, operation="divide")


def test_parts_beyond_the_pairs_are_told_without_loading() -> None:
    with pytest.raises(DataError, match="`train` 20 \\+ `valid` 10 = 30 examples are asked for, and there are 25"):
        DATASETS["modular"](modulus=5, train=20, valid=10).facts()


def test_the_data_fits_a_network_that_embeds_both_numbers() -> None:
    text = """
    dlx: 1
    name: m
    data: {modular: 5}
    network: {layers: [{linear: {out_features: 3, bias: false}}, flatten, {linear: 5}]}
    objective: classification
    """
    spec = experiment_of(text)
    assert spec.data is not None
    assert spec.data.facts().input == (2, 5)
