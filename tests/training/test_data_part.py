"""A part of the data: what its batches know from one evaluation to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dlx.data.batch import Batch
from dlx.training.batches.data_part import DataPart


def total(batch: Batch) -> float:
    return batch.once("total", lambda: float(batch["input"].sum()))


def part_of(count: int) -> DataPart:
    return DataPart(torch.arange(2.0 * count).view(count, 2), torch.zeros(count))


def test_a_batch_of_an_evaluation_knows_what_was_found_in_the_one_before():
    part = part_of(5)
    assert [total(batch) for batch in part.chunks(3)] == [15, 30]
    for batch in part.chunks(3):
        assert batch.once("total", lambda: pytest.fail("it is known")) in {15, 30}


def test_what_is_known_is_of_one_size_and_place():
    part = part_of(5)
    assert [total(batch) for batch in part.chunks(3)] == [15, 30]
    assert [total(batch) for batch in part.chunks(2)] == [6, 22, 17]
    assert [total(batch) for batch in part.chunks(5)] == [45]


def test_changed_examples_and_other_parts_know_nothing_of_it():
    part = part_of(5)
    (batch,) = part.chunks(5)
    assert total(batch) == 45
    assert total(replace(batch, fields={**batch.fields, "input": batch["input"] + 1})) == 55
    assert total(part.take(torch.arange(2))) == 6
    others = part.changed(input=part.x + 1), part.some(torch.arange(2)), part.evenly(2)
    assert [total(next(iter(other.chunks(5)))) for other in others] == [55, 6, 10]
