"""Metrics, by hand: each over two batches of unequal size, as an evaluation brings them."""

import math

import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from dlx.metrics import METRICS, Metric


def measured(metric: Metric, output: torch.Tensor, target: torch.Tensor, ignore: int | None = None) -> float:
    meter = metric.meter(output, ignore)
    for part in (slice(0, 3), slice(3, None)):
        meter.update(output[part], target[part])
    return float(meter.compute())


def said(*classes: int, k: int = 3) -> torch.Tensor:
    """Logits of a network that says these classes, and is rather sure."""
    return torch.nn.functional.one_hot(torch.tensor(classes), k).float() * 4


SAID, TRUE = said(0, 0, 1, 1, 2, 2, 2), torch.tensor([0, 1, 1, 1, 2, 2, 0])
"""Class 0: 1 hit, 1 missed, 1 false alarm; class 1: 2, 1, 0; class 2: 2, 0, 1."""


@pytest.mark.parametrize(
    ("kind", "average", "by_hand"),
    [
        ("precision", "macro", (1 / 2 + 1 + 2 / 3) / 3),
        ("recall", "macro", (1 / 2 + 2 / 3 + 1) / 3),
        ("f1", "macro", (2 / 4 + 4 / 5 + 4 / 5) / 3),
        ("f1", "micro", 5 / 7),
        ("f1", "weighted", (2 * 2 / 4 + 3 * 4 / 5 + 2 * 4 / 5) / 7),
        ("iou", "macro", (1 / 3 + 2 / 3 + 2 / 3) / 3),
    ],
)
def test_hits_misses_and_false_alarms(kind, average, by_hand):
    assert measured(METRICS[kind](average=average), SAID, TRUE) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("kind", "by_hand"), [("precision", 2 / 3), ("recall", 1 / 2), ("f1", 4 / 7), ("iou", 2 / 5), ("auroc", 0.875)]
)
def test_of_one_logit_they_are_about_class_1(kind, by_hand):
    """Two hits, two missed, one false alarm; 7 of the 8 pairs of a yes and a no stand in the right order."""
    logits, target = torch.tensor([3.0, 2.0, -1.0, -2.0, 1.0, -3.0]), torch.tensor([1, 1, 1, 1, 0, 0])
    if kind == "auroc":
        logits = torch.tensor([3.0, 2.0, 1.5, -2.0, 1.0, -3.0])
    assert measured(METRICS[kind](), logits, target) == pytest.approx(by_hand)


def table(output: torch.Tensor, target: torch.Tensor, ignore: int | None = None) -> list[list[int]]:
    meter = METRICS["confusion_matrix"]().meter(output, ignore)
    for part in (slice(0, 3), slice(3, None)):
        meter.update(output[part], target[part])
    return meter.compute().tolist()


def test_which_class_was_taken_for_which():
    """Of class 0 one was hit and one said to be 2; of class 1 one was said to be 0; class 2 is right."""
    assert table(SAID, TRUE) == [[1, 0, 1], [1, 2, 0], [0, 0, 2]]
    assert table(torch.tensor([3.0, 2.0, -1.0, -2.0, 1.0, -3.0]), torch.tensor([1, 1, 1, 1, 0, 0])) == [
        [1, 1],
        [2, 2],
    ]
    theirs = MulticlassConfusionMatrix(3)
    theirs.update(SAID, TRUE)
    assert theirs.compute().tolist() == table(SAID, TRUE)


def test_a_map_is_counted_by_position_but_for_what_is_ignored():
    as_map, target = SAID.T.expand(4, 3, 7).clone(), TRUE.expand(4, 7).clone()
    assert table(as_map, target) == [[4, 0, 4], [4, 8, 0], [0, 0, 8]]
    target[:, 0] = 255
    assert table(as_map, target, ignore=255) == [[0, 0, 4], [4, 8, 0], [0, 0, 8]]


@pytest.mark.parametrize(("k", "by_hand"), [(1, 3 / 4), (2, 2 / 4), (3, 1 / 4), (4, 0), (9, 0)])
def test_the_top_k_error_is_the_share_outside_the_first_k(k, by_hand):
    logits = torch.tensor([[4.0, 3, 2, 1]] * 4)
    metric = METRICS["top_k_error"](k=k)
    assert measured(metric, logits, torch.arange(4)) == by_hand
    assert metric.name == f"top_{k}_error"


def test_perplexity_is_the_number_of_classes_for_one_that_knows_nothing():
    assert measured(METRICS["perplexity"](), torch.zeros(7, 27), torch.arange(7)) == pytest.approx(27)
    sure = measured(METRICS["perplexity"](), SAID, TRUE)
    loss = (5 * math.log1p(2 * math.exp(-4)) + 2 * (4 + math.log1p(2 * math.exp(-4)))) / 7
    assert sure == pytest.approx(math.exp(loss))


def test_calibration_is_the_gap_between_confidence_and_accuracy():
    confidence = math.exp(4) / (math.exp(4) + 2)
    assert measured(METRICS["calibration_error"](), SAID, TRUE) == pytest.approx(confidence - 5 / 7)


def test_auroc_of_several_classes_is_the_mean_of_one_against_the_rest():
    torch.manual_seed(0)
    logits, target = torch.randn(40, 3), torch.randint(3, (40,))
    chances, each = logits.softmax(1), []
    for k in range(3):
        yes, no = chances[target == k, k], chances[target != k, k]
        each.append((yes[:, None] > no).float().mean().item())
    assert measured(METRICS["auroc"](), logits, target) == pytest.approx(sum(each) / 3)


def test_r2_is_one_minus_the_error_over_the_variance():
    torch.manual_seed(0)
    y = torch.randn(9, 2)
    x = y + 0.3 * torch.randn(9, 2)
    by_hand = (1 - (y - x).square().sum(0) / (y - y.mean(0)).square().sum(0)).mean()
    assert measured(METRICS["r2"](), x, y) == pytest.approx(by_hand.item(), rel=1e-5)
    assert measured(METRICS["r2"](), y.mean(0).expand(9, 2), y) == pytest.approx(0, abs=1e-5)
    single = (1 - (y - x).square().sum(0) / (y - y.mean(0)).square().sum(0))[0]
    assert measured(METRICS["r2"](), x[:, :1], y[:, :1]) == pytest.approx(single.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["iou", "top_k_error", "perplexity", "precision"])
def test_maps_are_counted_by_position_and_ignored_ones_not_at_all(kind):
    """A map of 7 positions in one example is the 7 examples, and what is ignored changes nothing."""
    metric = METRICS[kind](**({"k": 1} if kind == "top_k_error" else {}))
    as_map, target = SAID.T.expand(4, 3, 7).clone(), TRUE.expand(4, 7)
    assert measured(metric, as_map, target) == pytest.approx(measured(metric, SAID, TRUE))
    wider = torch.cat([as_map, torch.randn(4, 3, 2)], 2)
    padded = torch.cat([target, torch.full((4, 2), 255)], 1)
    assert measured(metric, wider, padded, ignore=255) == pytest.approx(measured(metric, SAID, TRUE))
