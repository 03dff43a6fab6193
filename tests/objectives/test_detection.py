"""Boxes in a grid: their loss and their metrics, by hand."""

from __future__ import annotations

import pytest
import torch
from helpers import experiment_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dlx.data import DATASETS, Facts
from dlx.experiment import runner
from dlx.losses import LOSSES
from dlx.metrics import METRICS
from dlx.modules import boxes
from dlx.objectives import OBJECTIVES
from dlx.shapes import Shape


def cell(*values: float) -> torch.Tensor:
    """One picture with one cell."""
    return torch.tensor(values).view(1, -1, 1, 1)


TRUE = cell(1, 0.5, 0.5, 0.25, 0.25, 0, 1)
"""A box of a quarter of the picture's width in its middle, of the second of two classes."""


def loss(output: torch.Tensor, target: torch.Tensor = TRUE, **options: object) -> float:
    return LOSSES["yolo"](boxes=(output.shape[1] - 2) // 5, **options).function()(output, target).item()


# --- loss -----------------------------------------------------------------------------------------------------------


def test_a_box_that_is_right_costs_nothing():
    assert loss(cell(1, 0.5, 0.5, 0.5, 0.5, 0, 1)) == pytest.approx(0, abs=1e-12)


def test_each_term_of_equation_3():
    # the same middle, twice the width: overlap 1/2; gap of the roots 0.7071 - 0.5
    wide = 0.5**0.5
    assert loss(cell(0.5, 0.5, 0.5, wide, 0.5, 0, 1)) == pytest.approx(5 * (wide - 0.5) ** 2)
    assert loss(cell(0.1, 0.5, 0.5, wide, 0.5, 0, 1)) == pytest.approx(5 * (wide - 0.5) ** 2 + 0.4**2)
    assert loss(cell(0.1, 0.5, 0.5, wide, 0.5, 0, 1), rescore=False) == pytest.approx(5 * (wide - 0.5) ** 2 + 0.9**2)
    assert loss(cell(1, 0.5, 0.5, 0.5, 0.5, 0.3, 0.6)) == pytest.approx(0.3**2 + 0.4**2)
    assert loss(cell(0.5, 0.5, 0.5, wide, 0.5, 0, 1), lambda_coord=1) == pytest.approx((wide - 0.5) ** 2)


def test_the_box_that_overlaps_most_answers_and_the_other_is_to_be_unsure():
    good, bad = (1, 0.5, 0.5, 0.5, 0.5), (0.8, 0.1, 0.1, 0.2, 0.2)
    for order in ((*good, *bad), (*bad, *good)):
        assert loss(cell(*order, 0, 1)) == pytest.approx(0.5 * 0.8**2)


def test_a_cell_without_an_object_has_confidences_alone():
    nothing = cell(0, 0, 0, 0, 0, 0, 0)
    assert loss(cell(0.4, 9, 9, 9, 9, 0.6, 9, 9, 9, 9, 7, 7), nothing) == pytest.approx(0.5 * (0.4**2 + 0.6**2))
    assert loss(cell(0.4, 9, 9, 9, 9, 7, 7), nothing, lambda_noobj=2) == pytest.approx(2 * 0.4**2)


def test_confidence_follows_the_overlap_and_does_not_move_the_box():
    output = cell(0.2, 0.4, 0.5, 0.5, 0.5, 0, 1).requires_grad_()
    LOSSES["yolo"](boxes=1, lambda_coord=0).function()(output, TRUE).backward()
    assert output.grad[0, 1:5].abs().max() == 0
    assert output.grad[0, 0] < 0


# --- overlap and what is found --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "by_hand"),
    [
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),
        ((0, 0, 2, 2), (0, 0, 2, 2), 1),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),
        ((0, 0, 4, 1), (0, 0, 2, 1), 1 / 2),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0),
    ],
)
def test_overlap_by_hand(a, b, by_hand):
    assert boxes.overlap(torch.tensor(a).float(), torch.tensor(b).float()).item() == pytest.approx(by_hand)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=2, max_size=2))
def test_overlap_is_that_of_counted_squares(corners):
    a, b = [(min(x, u), min(y, v), max(x, u), max(y, v)) for x, y, u, v in corners]
    squares = [{(i, j) for i in range(x, u) for j in range(y, v)} for x, y, u, v in (a, b)]
    either = squares[0] | squares[1]
    expected = len(squares[0] & squares[1]) / len(either) if either else 0
    found = boxes.overlap(torch.tensor(a).float(), torch.tensor(b).float()).item()
    assert found == pytest.approx(expected)


def test_average_precision_by_hand():
    """Of two objects the first answer finds one, the second none, the third the other: precisions 1, 1/2, 2/3."""
    right = torch.tensor([True, False, True])
    assert boxes.average_precision(right, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert boxes.average_precision(right, 4) == pytest.approx((1 + 2 / 3) / 4)
    # precision 1/2, then 2/3: the better one counts for both
    assert boxes.average_precision(torch.tensor([False, True, True]), 2) == pytest.approx(2 / 3)
    assert boxes.average_precision(torch.tensor([], dtype=torch.bool), 2) == 0


def test_an_object_is_found_once_and_in_its_own_picture():
    box = torch.tensor([[0.0, 0, 1, 1]])
    pictures = torch.tensor([0, 0, 1])
    found = boxes.hits(pictures, box.repeat(3, 1), torch.tensor([0]), box, 0.5)
    assert found.tolist() == [True, False, False]


def test_of_boxes_of_one_thing_the_surest_stays():
    place = torch.tensor([[[0.0, 0, 4, 1], [0, 0, 3, 1], [0, 0, 4, 1], [9, 9, 10, 10]]])
    classes, scores = torch.tensor([[0, 0, 1, 0]]), torch.tensor([[0.5, 0.9, 0.1, 0.2]])
    assert boxes.suppressed(place, classes, scores, 0.5).tolist() == [[True, False, False, False]]
    assert not boxes.suppressed(place, classes, scores, 0.8).any()
    # the first overlaps the second, which overlaps the third; the second is out, so the third stays
    chain = torch.tensor([[[0.0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]]])
    out = boxes.suppressed(chain, torch.zeros(1, 3).long(), torch.tensor([[0.9, 0.8, 0.7]]), 0.5)
    assert out.tolist() == [[False, True, False]]


def perfect(target: torch.Tensor) -> torch.Tensor:
    """What a network with one box says that knows everything."""
    return torch.cat([target[:, :3], target[:, 3:5].sqrt(), target[:, 5:]], 1)


def test_who_knows_everything_has_all_metrics_at_1():
    target = torch.from_numpy(DATASETS["shapes"](targets="boxes", train=80, seed=2).load().train.y)
    measured = OBJECTIVES["detection"]().measure(perfect(target), target)
    assert measured["box_iou"].item() == pytest.approx(1, abs=1e-5)
    assert measured["class_accuracy"].item() == 1
    meter = METRICS["average_precision"]().meter(target, None)
    for part in target.split(30):
        meter.update(perfect(part), part)
    assert float(meter.compute()) == pytest.approx(1)


def test_average_precision_over_batches_by_hand():
    """Two pictures with an object each: one found surely, one missed by a surer box elsewhere."""
    wrong = cell(1, 0.3, 0.3, 0.5, 0.5, 0, 1)
    right = cell(0.5, 0.5, 0.5, 0.5, 0.5, 0, 1)
    meter = METRICS["average_precision"]().meter(right, None)
    meter.update(right, TRUE)
    meter.update(wrong, TRUE)
    assert float(meter.compute()) == pytest.approx(1 / 2 * 1 / 2)
    lenient = METRICS["average_precision"](iou=0.01).meter(right, None)
    lenient.update(torch.cat([right, wrong]), TRUE.repeat(2, 1, 1, 1))
    assert float(lenient.compute()) == 1


def test_pictures_without_objects_count_in_no_mean():
    nothing = torch.zeros_like(TRUE)
    detection, right = OBJECTIVES["detection"](), cell(1, 0.5, 0.5, 0.5, 0.5, 0, 1)
    evaluation = detection.model_copy(update={"loss": LOSSES["yolo"](boxes=1)}).evaluation()
    for target in (nothing, TRUE, nothing):
        evaluation.add(right, target)
    assert evaluation.result()["box_iou"] == pytest.approx(1)


# --- what does not fit ----------------------------------------------------------------------------------------------

BOXES = Facts(Shape((1, 32, 32)), target=Shape((8, 4, 4)))


@pytest.mark.parametrize(
    ("objective", "output", "facts", "expected"),
    [
        ("detection", (13, 4, 4), BOXES, None),
        (
            "detection",
            (8, 4, 4),
            BOXES,
            "the network ends in (8, 4, 4), and 2 boxes and 3 classes on 4x4 cells want (13, 4, 4)",
        ),
        (
            "detection",
            (3,),
            Facts(Shape((2,)), classes=3),
            "detection wants boxes in a grid, and the data has 3 classes",
        ),
        (
            "detection",
            (3,),
            Facts(Shape((2,)), target=Shape((3,))),
            "detection wants targets (5 + classes, rows, columns), and each one of the data is (3,)",
        ),
    ],
)
def test_what_detection_says_of_a_network(objective, output, facts, expected):
    problem = OBJECTIVES[objective]().check(Shape(output), facts)
    assert (problem and problem.message) == expected


def test_losses_and_metrics_stay_with_their_kind():
    regression = OBJECTIVES["regression"](loss=LOSSES["yolo"]())
    assert (
        "the loss yolo wants boxes, and regression has numbers" in regression.check(Shape((13, 4, 4)), BOXES).message
    )
    other = OBJECTIVES["detection"](loss=LOSSES["squared_error"]())
    assert "the loss squared_error is not for boxes" in other.check(Shape((8, 4, 4)), BOXES).message
    assert "wants boxes in a grid" in LOSSES["yolo"]().check(3)
    with pytest.raises(ValidationError, match="the metric f1 is not for detection, which has boxes"):
        OBJECTIVES["detection"](metrics=["f1"])


def test_a_training_measures_boxes(tmp_path):
    text = """
        data: {shapes: {targets: boxes, size: 16, grid: 2, train: 64, valid: 16, test: 16}}
        network:
          layers:
            - conv: {out_channels: 8, kernel_size: 3, stride: 8, padding: 1}
            - relu
            - conv: {out_channels: 13, kernel_size: 1}
        objective: detection
        train: {steps: 20, batch_size: 16, optimizer: {adam: 0.01}}
        track: {mlflow: false}
    """
    metrics = runner.run(experiment_of(text), tmp_path).metrics
    assert {"test/box_iou", "test/class_accuracy", "test/average_precision", "test/loss"} <= set(metrics)
    assert 0 <= metrics["test/average_precision"] <= 1
