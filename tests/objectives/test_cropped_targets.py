"""Segmentation by networks without padding: smaller outputs, compared with the middle of the targets."""

import pytest
import torch
import torch.nn.functional as F
from helpers import graph_of

from dlx.errors import SpecError
from dlx.objectives.segmentation import Segmentation

SPEC = """
data: {{shapes: {{train: 4, valid: 0, test: 2, size: 16, most: 1}}}}
network: {{layers: [{{conv: {{out_channels: 4, kernel_size: {kernel}, padding: {padding}}}}}]}}
objective: {objective}
"""
CROP = Segmentation.model_validate({"crop": "center"})


def test_the_loss_is_of_the_middle_of_the_targets():
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 8, 8))
    by_hand = F.cross_entropy(output, target[:, 2:6, 1:6])

    assert CROP.loss_function()(output, target) == by_hand
    assert by_hand != F.cross_entropy(output, target[:, :4, :5])


def test_metrics_are_of_the_middle_too():
    target = torch.zeros(2, 6, 6, dtype=torch.long)
    target[:, 1:5, 1:5] = torch.arange(2).view(-1, 1, 1) + 1
    right = F.one_hot(target[:, 1:5, 1:5], 3).movedim(-1, 1).float()
    objective = Segmentation.model_validate({"crop": "center", "metrics": ["iou"]})
    meters = objective.evaluation()
    meters.add(right, target)
    assert meters.result()["accuracy"] == meters.result()["iou"] == 1

    shifted = objective.evaluation()
    shifted.add(F.one_hot(target[:, :4, :4], 3).movedim(-1, 1).float(), target)
    assert shifted.result()["accuracy"] < 0.7


def test_positions_outside_the_middle_do_not_count():
    objective = Segmentation.model_validate(
        {"crop": "center", "loss": {"cross_entropy": {"ignore_index": 255}}, "metrics": ["iou"]}
    )
    target = torch.full((1, 6, 6), 255)
    target[:, 2:4, 2:4] = 1
    meters = objective.evaluation()
    meters.add(F.one_hot(torch.ones(1, 4, 4, dtype=torch.long), 2).movedim(-1, 1).float(), target)
    assert meters.result()["accuracy"] == 1


def test_without_crop_a_smaller_output_is_told_with_the_way_out():
    with pytest.raises(SpecError) as error:
        graph_of(SPEC.format(kernel=3, padding=0, objective="segmentation"))
    (problem,) = error.value.problems
    assert problem.message.startswith("the network ends in (4, 14, 14), and the data has 4 classes on 16x16")
    assert "{segmentation: {crop: center}}" in problem.hint
    graph = graph_of(SPEC.format(kernel=3, padding=0, objective="{segmentation: {crop: center}}"))
    assert tuple(graph.output_shape()) == (4, 14, 14)


def test_an_output_larger_than_the_targets_is_refused_with_crop_too():
    with pytest.raises(SpecError, match="the network ends in"):
        graph_of(SPEC.format(kernel=3, padding=2, objective="{segmentation: {crop: center}}"))
