"""Metrics of classes beside those of torchmetrics, to the last bit; dlx itself does without that."""

import subprocess
import sys

import pytest
import torch
import torchmetrics.classification as theirs

from dlx.metrics import METRICS

NAMES = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1Score",
    "iou": "JaccardIndex",
    "auroc": "AUROC",
    "calibration_error": "CalibrationError",
}
K = 5


def logits(case):
    """Outputs and targets: plain; in coarse steps, so that many are alike; far apart, so that probabilities are 0 and
    1; where two classes have no targets, of which one is never said.
    """
    rng = torch.Generator().manual_seed(7)
    shape = (90, 4, 3) if case.endswith("map") else (90,)
    target = torch.randint(K, shape, generator=rng)
    output = torch.randn(90, K, *shape[1:], generator=rng) + 1.5 * torch.nn.functional.one_hot(target, K).movedim(
        -1, 1
    )
    if case.startswith("coarse"):
        output = output.round()
    if case.startswith("far"):
        output = output * 60
    if case.startswith("absent"):
        target = target % 3
        output[:, 4] = -9
    return output, target


def both(kind, output, target, ignore=None, **options):
    """dlx's meter of each class and torchmetrics', after batches of unequal size."""
    metric = METRICS[kind](**{k: v for k, v in options.items() if v != "none"})
    meter = metric.meter(output, ignore) if options.get("average") != "none" else metric.each(output, ignore)
    one = output.dim() == 1
    if one:
        options.pop("average", None)
        meter = metric.each(output, ignore) if hasattr(metric, "each") else meter
    name = f"{'Binary' if one else 'Multiclass'}{NAMES[kind]}"
    witness = getattr(theirs, name)(
        **options, ignore_index=ignore, **({} if one else {"num_classes": output.shape[1]})
    )
    for part in (slice(0, 17), slice(17, 64), slice(64, None)) if len(target) > 64 else (slice(None),):
        meter.update(output[part], target[part])
        witness.update(output[part].sigmoid() if one else output[part].softmax(1), target[part])
    return meter.compute(), witness.compute()


CASES = ["plain", "coarse", "far", "absent", "plain map", "coarse map"]


@pytest.mark.filterwarnings("ignore:No (positive|negative) samples:UserWarning")
@pytest.mark.parametrize("ignore", [None, 255, 1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["precision", "recall", "f1", "iou", "auroc"])
def test_each_class_has_the_figure_of_torchmetrics(kind, case, ignore):
    output, target = logits(case)
    if ignore == 255:
        target = target.clone()
        target[::4] = 255

    ours, witness = both(kind, output, target, ignore, average="none")

    assert ours.dtype == witness.dtype
    assert ours.tolist() == witness.tolist()


@pytest.mark.parametrize("ignore", [None, 255, 1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["precision", "recall", "f1", "iou"])
def test_over_examples_they_have_the_figure_of_torchmetrics(kind, case, ignore):
    output, target = logits(case)
    if ignore == 255:
        target = target.clone()
        target[::4] = 255

    ours, witness = both(kind, output, target, ignore, average="micro")

    assert ours.tolist() == witness.tolist()


@pytest.mark.parametrize("case", ["plain", "coarse", "far"])
@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("ignore", [None, 255])
def test_of_one_logit_they_have_the_figure_of_torchmetrics(kind, case, ignore):
    """Among the coarse logits are many of 0, of which the probability is 1/2."""
    output, target = logits(case)
    output, target = output[:, 0] - output[:, 1], (target == 0).long()
    if ignore is not None:
        target[::4] = ignore

    ours, witness = both(kind, output, target, ignore)

    assert ours.tolist() == witness.tolist()


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("case", CASES)
def test_calibration_has_the_figure_of_torchmetrics(case, bins, norm):
    output, target = logits(case)

    ours, witness = both("calibration_error", output, target, norm=norm, n_bins=bins)

    assert ours.tolist() == witness.tolist()


def test_logits_too_near_to_be_told_apart_as_probabilities_count_as_in_torchmetrics():
    output = torch.tensor([1e-9, -1e-9, 0.0, 1e-3])
    ours, witness = both("precision", output, torch.tensor([1, 1, 0, 1]))
    assert ours.tolist() == witness.tolist() == 1

    output = torch.tensor([[20.0, 20.000001, -1], [0, 1e-9, -1], [0, 1, -1]])
    ours, witness = both("recall", output, torch.tensor([1, 1, 1]), average="none")
    assert ours.tolist() == witness.tolist()


SPEC = """
dlx: 1
data: {synthetic: {shape: [6], classes: 3, train: 40, valid: 20, test: 20}}
network: {layers: [linear: 3]}
objective:
  classification: {metrics: [precision, recall, f1, iou, auroc, calibration_error, perplexity, confusion_matrix]}
train: {epochs: 2, batch_size: 20}
track: {mlflow: false}
"""


def test_dlx_trains_and_measures_without_torchmetrics_and_scikit_learn(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    code = (
        "import sys; sys.modules |= {'torchmetrics': None, 'sklearn': None}\n"  # importing them fails
        "from dlx.cli import app; sys.argv = ['dlx', 'train', 's.yaml', '--json']; app()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert '"test/auroc"' in done.stdout
