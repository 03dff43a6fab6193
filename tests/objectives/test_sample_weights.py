"""Weights of the examples in the training loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dlx.data.batch import Batch, FieldNames
from dlx.objectives import OBJECTIVES

OUTPUT = torch.tensor([[0.2, -1.0], [1.5, 0.3], [-0.4, 0.9]], requires_grad=True)
CLASSES = torch.tensor([0, 1, 1])
WEIGHT = torch.tensor([1.0, 2.0, 0.0])


def loss_of(objective: object, output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    batch = Batch({"input": output, "target": target, "weight": weight})
    return objective.training_loss(objective.weighing())(output, objective.training_target(batch))


@pytest.mark.parametrize("loss", ["cross_entropy", {"cross_entropy": {"weight": [1.0, 3.0]}}, "focal", "hinge"])
def test_an_example_of_weight_two_counts_as_two_of_it_and_of_weight_zero_not_at_all(loss):
    made = OBJECTIVES["classification"].model_validate({"loss": loss})
    twice = torch.tensor([0, 1, 1])
    repeated = made.training_loss()(OUTPUT[[0, 1, 1]], CLASSES[twice])
    weighted = loss_of(made, OUTPUT, CLASSES, WEIGHT)
    assert torch.allclose(weighted, repeated)
    ours, theirs = (torch.autograd.grad(one, OUTPUT)[0] for one in (weighted, repeated))
    assert torch.allclose(ours, theirs)
    assert not torch.allclose(weighted, made.training_loss()(OUTPUT, CLASSES))


def test_values_are_weighed_by_example_and_a_sum_by_the_weights_alone():
    target = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
    each = (OUTPUT - target).square()
    mean = OBJECTIVES["regression"].model_validate({})
    assert torch.allclose(loss_of(mean, OUTPUT, target, WEIGHT), (each.mean(1) * WEIGHT).sum() / WEIGHT.sum())
    total = OBJECTIVES["regression"].model_validate({"loss": {"squared_error": {"reduction": "sum"}}})
    assert torch.allclose(loss_of(total, OUTPUT, target, WEIGHT), (each.sum(1) * WEIGHT).sum())


def test_positions_that_do_not_count_take_no_part_in_the_mean():
    made = OBJECTIVES["segmentation"].model_validate({})
    output, target = torch.randn(3, 2, 4), torch.tensor([[0, 1, -100, 1], [1, 1, 0, -100], [0, 0, 0, 0]])
    sums = torch.stack(
        [F.cross_entropy(o[None], t[None], reduction="sum") for o, t in zip(output, target, strict=True)]
    )
    counts = torch.tensor([3.0, 3.0, 4.0])
    expected = (WEIGHT * sums).sum() / (WEIGHT * counts).sum()
    assert torch.allclose(loss_of(made, output, target, WEIGHT), expected)


def test_one_logit_is_weighed_too():
    made = OBJECTIVES["binary_classification"].model_validate({})
    output = torch.tensor([[0.3], [-1.0], [2.0]])
    each = F.binary_cross_entropy_with_logits(output[:, 0], CLASSES.float(), reduction="none")
    assert torch.allclose(loss_of(made, output, CLASSES, WEIGHT), (each * WEIGHT).sum() / WEIGHT.sum())


def test_each_head_is_weighed_by_its_own_loss():
    of = {"a": "classification", "b": {"regression": {"weight": 0.5}}}
    made = OBJECTIVES["heads"].model_validate({"of": of})
    values = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]])
    names = FieldNames(("input",), ("a", "b"))
    batch = Batch({"input": OUTPUT, "a": CLASSES, "b": values, "weight": WEIGHT}, {}, names)
    found = made.training_loss(made.weighing())({"a": OUTPUT, "b": OUTPUT}, made.training_target(batch))
    classes, numbers = (OBJECTIVES[kind].model_validate({}) for kind in ("classification", "regression"))
    expected = loss_of(classes, OUTPUT, CLASSES, WEIGHT) + 0.5 * loss_of(numbers, OUTPUT, values, WEIGHT)
    assert torch.allclose(found, expected)
