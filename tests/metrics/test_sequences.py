"""Exact match of whole sequences: by hand, by torchmetrics, and beside the accuracy of positions."""

import math

import pytest
import torch
from helpers import experiment_of
from torchmetrics.functional.classification import multiclass_exact_match

from dlx.metrics import METRICS


def measured(batches, ignore=None):
    meter = METRICS["exact_match"]().meter(batches[0][0], ignore)
    for output, target in batches:
        meter.update(output, target)
    return meter.compute().item()


def logits_of(classes):
    return torch.nn.functional.one_hot(torch.tensor(classes), 4).movedim(-1, 1).float()


def test_one_wrong_position_loses_the_sequence():
    target = torch.tensor([[0, 1, 2], [3, 3, 3], [1, 0, 1]])
    assert measured([(logits_of([[0, 1, 2], [3, 3, 3], [1, 0, 1]]), target)]) == 1
    assert measured([(logits_of([[0, 1, 2], [3, 2, 3], [1, 0, 1]]), target)]) == pytest.approx(2 / 3)
    assert measured([(logits_of([[1, 1, 2], [3, 2, 3], [1, 0, 0]]), target)]) == 0


def test_positions_that_do_not_count_are_neither_right_nor_wrong():
    target = torch.tensor([[0, 1, -100], [3, -100, -100], [-100, -100, -100]])
    output = logits_of([[0, 1, 3], [2, 3, 3], [1, 1, 1]])
    assert measured([(output, target)], ignore=-100) == 1 / 2
    assert measured([(output, target)]) == 0
    nothing = METRICS["exact_match"]().meter(output, -100)
    nothing.update(output[2:], target[2:])
    assert math.isnan(nothing.compute())
    assert nothing.note() == "exact_match is undefined: no example has a target that counts"


@pytest.mark.parametrize("size", [(5,), (2, 3)])
def test_batches_of_sequences_and_maps_are_those_of_torchmetrics(size):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (60, *size), generator=generator)
    output = torch.nn.functional.one_hot(target, 3).movedim(-1, 1) + 0.45 * torch.randn(
        60, 3, *size, generator=generator
    )
    theirs = multiclass_exact_match(output, target, 3, multidim_average="global").item()
    assert 0.1 < theirs < 0.9
    parts = [(output[a:b], target[a:b]) for a, b in ((0, 25), (25, 26), (26, 60))]
    assert measured(parts) == pytest.approx(theirs, abs=1e-7)


def test_a_spec_of_tagging_asks_for_it():
    objective = experiment_of("""
        name: tags
        data: {synthetic: {shape: [4, 6], classes: 3}}
        network: {layers: [{conv: {out_channels: 3, kernel_size: 1}}]}
        objective: {segmentation: {loss: {cross_entropy: {ignore_index: -100}}, metrics: [exact_match]}}
        train: {steps: 1}
        """).objective
    assert [metric.name for metric in objective.metrics] == ["exact_match"]
