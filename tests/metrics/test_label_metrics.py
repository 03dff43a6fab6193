"""Metrics of several labels an example, beside scikit-learn's and torchmetrics'."""

import pytest
import sklearn.metrics as theirs
import torch
import torchmetrics.classification as torchs

from dlx.metrics import METRICS

LABELS = 4
THRESHOLDS = torch.tensor([0.5, 0.3, 0.7, 0.5])


def examples(coarse=False):
    rng = torch.Generator().manual_seed(3)
    target = (torch.rand(90, LABELS, generator=rng) < torch.tensor([0.5, 0.1, 0.9, 0.3])).float()
    logits = torch.randn(90, LABELS, generator=rng) + 1.5 * target
    return logits.round() if coarse else logits, target


def meter(kind, logits, target, average="macro", thresholds=THRESHOLDS):
    found = METRICS[kind](average=average).label_meter(thresholds)
    for part in (slice(0, 17), slice(17, 64), slice(64, None)):
        found.update(logits[part], target[part])
    return found


COUNTED = {
    "f1": theirs.f1_score,
    "precision": theirs.precision_score,
    "recall": theirs.recall_score,
    "iou": theirs.jaccard_score,
}


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("kind", COUNTED)
def test_ratios_of_counts_equal_scikit_learns(kind, average):
    logits, target = examples()
    said = (logits.sigmoid() > THRESHOLDS).int()

    found = meter(kind, logits, target, average)

    assert found.compute().item() == pytest.approx(COUNTED[kind](target, said, average=average), rel=1e-6)
    assert found.each().tolist() == pytest.approx(COUNTED[kind](target, said, average=None).tolist(), rel=1e-6)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize(
    ("kind", "witness"), [("auroc", theirs.roc_auc_score), ("auprc", theirs.average_precision_score)]
)
def test_areas_equal_scikit_learns(kind, witness, average, coarse):
    """Among the coarse logits many are alike, which one threshold has to take together."""
    logits, target = examples(coarse)

    found = meter(kind, logits, target, average)

    assert found.compute().item() == pytest.approx(witness(target, logits, average=average), rel=1e-6)
    assert found.each().tolist() == pytest.approx(witness(target, logits, average=None).tolist(), rel=1e-6)


@pytest.mark.parametrize(("kind", "name"), [("f1", "F1Score"), ("auroc", "AUROC"), ("auprc", "AveragePrecision")])
def test_they_equal_torchmetrics(kind, name):
    logits, target = examples()
    witness = getattr(torchs, f"Multilabel{name}")(num_labels=LABELS, average="macro")

    found = meter(kind, logits, target, thresholds=torch.full((LABELS,), 0.5))

    assert found.compute().item() == pytest.approx(witness(logits.sigmoid(), target.long()).item(), rel=1e-6)


@pytest.mark.parametrize("one", [True, False])
def test_average_precision_of_classes_equals_torchmetrics(one):
    rng = torch.Generator().manual_seed(5)
    target = torch.randint(2 if one else 3, (70,), generator=rng)
    logits = torch.randn((70,) if one else (70, 3), generator=rng)
    metric = METRICS["auprc"]()
    found = metric.meter(logits, None)
    found.update(logits, target)
    witness = torchs.BinaryAveragePrecision() if one else torchs.MulticlassAveragePrecision(3)

    expected = witness(logits.sigmoid() if one else logits.softmax(1), target)

    assert found.compute().item() == pytest.approx(expected.item(), rel=1e-6)


def test_labels_without_a_positive_are_left_out_and_named():
    logits, target = examples()
    target[:, 2] = 0
    found = meter("auroc", logits, target)
    kept = [0, 1, 3]

    assert found.compute().item() == pytest.approx(theirs.roc_auc_score(target[:, kept], logits[:, kept]), rel=1e-6)
    assert found.each()[2].isnan()
    assert found.note(["red", "green", "blue"]) == "without label blue, for which it is undefined"
    assert meter("f1", logits, target, "micro").note([]) == ""
