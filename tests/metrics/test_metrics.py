"""Metrics, by hand: each over two batches of unequal size, as an evaluation brings them."""

import math

import numpy as np
import pytest
import torch
from helpers import experiment_of
from sklearn.metrics import f1_score, jaccard_score, precision_score, r2_score, recall_score, roc_auc_score
from torchmetrics.classification import MulticlassConfusionMatrix

from dlx.errors import SpecError
from dlx.graph import trace_all
from dlx.metrics import METRICS, Mean, Metric


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


def test_a_top_k_error_of_as_many_guesses_as_classes_is_refused_before_it_is_always_0():
    data = "network: {layers: [linear: 3]}\ndata: {blobs: {classes: 3, features: 2}}\nobjective:\n"
    with pytest.raises(SpecError) as error:
        trace_all(experiment_of(data + "  classification:\n    metrics: [{top_k_error: 1000}, f1]\n"))
    (problem,) = error.value.problems
    assert problem.message == "`k: 1,000` of top_k_error takes in all 3 classes, so that it is always 0"
    assert problem.hint == "Take a smaller one, such as `top_k_error: 1`, or drop it."
    assert (problem.path, problem.mark.line) == ("objective.classification.metrics", 5)
    trace_all(experiment_of(data + "  classification: {metrics: [{top_k_error: 2}]}\n"))


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
    probabilities, each = logits.softmax(1), []
    for k in range(3):
        yes, no = probabilities[target == k, k], probabilities[target != k, k]
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


def targets_about(mean: float, n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions that are 0.3 standard deviations off, and targets mean + N(0, 1)."""
    rng = np.random.default_rng(0)
    y = rng.normal(mean, 1, (n, 1)).astype(np.float32)
    x = (y + rng.normal(0, 0.3, (n, 1))).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize("mean", [0, 1e3, 1e4, 1e5, 1e6])
def test_r2_does_not_depend_on_where_the_targets_lie(mean):
    x, y = targets_about(mean)
    meter = METRICS["r2"]().meter(x[:1], None)
    for part in range(0, len(x), 250):
        meter.update(x[part : part + 250], y[part : part + 250])

    assert float(meter.compute()) == pytest.approx(r2_score(y.double(), x.double()), abs=1e-9)
    assert float(meter.compute()) == pytest.approx(0.91, abs=0.015)


@pytest.mark.parametrize(("x", "by_hand"), [([5.0, 5, 5], 1), ([5.0, 5, 6], 0)])
def test_r2_of_targets_that_do_not_vary_is_1_where_they_are_met_and_else_0(x, by_hand):
    y = torch.full((3, 1), 5.0)
    assert float(r2_score(y, torch.tensor(x)[:, None])) == by_hand
    assert measured(METRICS["r2"](), torch.tensor(x)[:, None], y) == by_hand


def test_r2_of_a_single_example_is_undefined_and_said_to_be():
    meter = METRICS["r2"]().meter(torch.ones(1, 1), None)
    meter.update(torch.ones(1, 1), torch.ones(1, 1))

    assert math.isnan(meter.compute())
    assert meter.note(()) == "undefined, for there is a single example"


def test_a_mean_over_many_batches_is_that_of_all_of_them():
    """In float32 a sum beyond 2^24 takes no more ones."""
    mean = Mean()
    mean.add(torch.tensor(1.0), 2.0**24)
    for _ in range(1000):
        mean.add(torch.tensor(3.0), 1)

    assert float(mean.compute()) == pytest.approx((2**24 + 3000) / (2**24 + 1000), rel=1e-12)


TWO_OF_THREE = torch.tensor([0, 0, 1, 1, 1])
WELL = torch.tensor([[8, 1, 1], [7, 2, 1], [1, 8, 1], [2, 7, 1], [4, 3, 3]]).log() / math.log(2)


def noted(metric: Metric, output: torch.Tensor, target: torch.Tensor, *names: str) -> tuple[float, str]:
    meter = metric.meter(output, None)
    meter.update(output, target)
    return float(meter.compute()), meter.note(names)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_auroc_leaves_out_a_class_that_no_target_has_and_says_so(average):
    probabilities = WELL.softmax(1)
    each = [roc_auc_score(k == TWO_OF_THREE, probabilities[:, k]) for k in (0, 1)]
    by_hand = sum(each) / 2 if average == "macro" else (2 * each[0] + 3 * each[1]) / 5
    value, note = noted(METRICS["auroc"](average=average), WELL, TWO_OF_THREE, "cat", "dog", "owl")

    assert value == pytest.approx(by_hand)
    assert note == ("without class owl, of which there is no target" if average == "macro" else "")
    perfect, _ = noted(METRICS["auroc"](average=average), said(0, 0, 1, 1, 1), TWO_OF_THREE)
    assert perfect == 1


def test_auroc_of_a_part_of_one_class_is_undefined_and_said_to_be():
    value, note = noted(METRICS["auroc"](), WELL[:2], TWO_OF_THREE[:2], "cat", "dog", "owl")
    assert math.isnan(value)
    assert note == "undefined, for no target is of classes dog and owl"

    value, note = noted(METRICS["auroc"](), torch.tensor([1.0, -1.0]), torch.tensor([1, 1]), "no", "yes")
    assert math.isnan(value)
    assert note == "undefined, for no target is of class no"


OWLS = said(0, 2, 1, 1, 2)
"""Class 0: 1 hit, 1 missed; class 1: 2 hits, 1 missed; class 2: two false alarms and no target."""


@pytest.mark.parametrize("kind", ["precision", "recall", "f1", "iou"])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("answers", [OWLS, said(0, 0, 1, 1, 1), said(1, 1, 1, 1, 1)])
def test_an_average_leaves_out_a_class_where_its_metric_is_undefined(kind, average, answers):
    """Of classes without targets, recall always, and others where it is not predicted: scikit-learn says as much."""
    y, predicted = TWO_OF_THREE.numpy(), answers.argmax(1).numpy()
    classes = [0, 1] if kind == "recall" and average == "macro" else sorted({*y.tolist(), *predicted.tolist()})
    function = {"precision": precision_score, "recall": recall_score, "f1": f1_score, "iou": jaccard_score}[kind]
    witness = function(y, predicted, labels=classes, average=average, zero_division=0)

    assert noted(METRICS[kind](average=average), answers, TWO_OF_THREE)[0] == pytest.approx(witness)


def test_recall_is_not_lowered_by_a_class_that_has_no_targets():
    value, note = noted(METRICS["recall"](), OWLS, TWO_OF_THREE)
    assert value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert note == "without class 2, of which there is no target"


def test_a_note_names_few_of_many_classes():
    output = torch.randn(4, 100)
    _, note = noted(METRICS["auroc"](), output, torch.tensor([0, 1, 0, 1]))
    assert note == "without classes 2, 3, 4, 5, 6 and 93 more, of which there is no target"
