"""Class weights that follow from the training part, beside scikit-learn's and torch's."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from dlx.errors import SpecError
from dlx.experiment.runner import prepare
from dlx.experiment.session import job_of
from dlx.losses import LOSSES
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.training.fit import fit

SPEC = """\
data: {{arrays: {{path: rare.npz, valid: 40, test: 200, stratify: true}}}}
network: {{layers: [{{linear: {outputs}}}]}}
objective: {objective}
train: {{epochs: 30, batch_size: 20, device: cpu, optimizer: {{adam: 0.05}}}}
track: {{mlflow: false}}
"""


def spec(folder, objective, outputs, classes=3, rare=0.06):
    rng = np.random.default_rng(4)
    y = rng.choice(classes, size=640, p=[1 - rare * (classes - 1), *[rare] * (classes - 1)])
    x = rng.normal(size=(640, 4)) + 1.2 * np.eye(4)[y]
    np.savez(folder / "rare.npz", x=x.astype("float32"), y=y)
    (folder / "s.yaml").write_text(SPEC.format(objective=objective, outputs=outputs))
    return load(folder / "s.yaml")


def test_weights_are_scikit_learns_and_the_loss_is_torchs(tmp_path):
    made = prepare(spec(tmp_path, "{classification: {loss: {cross_entropy: {weight: balanced}}}}", 3))
    y = made.sets.train.y
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)

    assert made.supervised.loss.weight == pytest.approx(expected.tolist())
    assert made.target_statistics == {"positives": np.bincount(y).tolist(), "count": len(y)}

    output = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(0))
    witness = nn.CrossEntropyLoss(weight=torch.tensor(expected, dtype=torch.float32))(output, torch.from_numpy(y))
    assert made.supervised.loss_function()(output, torch.from_numpy(y)).item() == pytest.approx(
        witness.item(), rel=1e-6
    )


def test_rare_classes_are_found_with_them_and_missed_without(tmp_path):
    recalls = []
    for loss in ("{cross_entropy: {weight: balanced}}", "cross_entropy"):
        one = job_of(prepare(spec(tmp_path, f"{{classification: {{metrics: [recall], loss: {loss}}}}}", 3)))
        recalls.append(list(fit(one))[-1].metrics["test/recall"])

    assert recalls[0] > recalls[1] + 0.2


def test_of_one_logit_pos_weight_is_zeros_to_each_one_and_the_threshold_decides(tmp_path):
    loss = "loss: {binary_cross_entropy: {pos_weight: balanced}}"
    objective = f"{{binary_classification: {{{loss}, metrics: [recall, precision, confusion_matrix]}}}}"
    experiment = spec(tmp_path, objective, 1, classes=2)
    made = prepare(experiment)
    ones = int(made.sets.train.y.sum())
    assert made.supervised.loss.pos_weight == [(len(made.sets.train.y) - ones) / ones]

    recalls = []
    for threshold in (0.5, 0.9):
        changed = experiment.changed([f"+objective.binary_classification.threshold={threshold}"])
        one = job_of(prepare(changed))
        end = list(fit(one))[-1].metrics
        x, y = one.parts["test"].x, one.parts["test"].y
        with torch.no_grad():
            said = one.network(x).squeeze(1).sigmoid() > threshold
        assert end["test/accuracy"] == pytest.approx((said == y).float().mean().item())
        assert end["test/recall"] == pytest.approx(said[y == 1].float().mean().item())
        assert end["test/precision"] == pytest.approx(y[said].float().mean().item())
        recalls.append(end["test/recall"])
    assert recalls[0] > recalls[1]


def test_segmentation_counts_positions_that_are_not_ignored():
    y = np.int64([[[0, 0], [1, 2]], [[0, 0], [0, 0]]])
    loss = {"cross_entropy": {"weight": "balanced", "ignore_index": 2}}
    objective = OBJECTIVES["segmentation"].model_validate({"loss": loss})
    made = objective.fitted(objective.target_statistics(y, 3))
    assert made.loss.weight == pytest.approx([7 / (2 * 6), 7 / (2 * 1), 0])

    output, target = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.from_numpy(y)
    witness = nn.CrossEntropyLoss(weight=torch.tensor(made.loss.weight), ignore_index=2)
    assert made.loss_function()(output, target).item() == pytest.approx(witness(output, target).item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "binary_cross_entropy"])
def test_without_data_the_weights_are_asked_for_as_numbers(kind):
    field = "pos_weight" if kind == "binary_cross_entropy" else "weight"
    loss = LOSSES[kind].model_validate({field: "balanced"})
    with pytest.raises(ValueError, match="follows from the training part of the data: give the weights as numbers"):
        loss.function()(torch.zeros(2, 2), torch.zeros(2, 2) if field == "pos_weight" else torch.tensor([0, 1]))


def test_a_class_without_training_examples_is_told(tmp_path):
    experiment = spec(tmp_path, "{classification: {loss: {cross_entropy: {weight: balanced}}}}", 3)
    y = np.load(tmp_path / "rare.npz")["y"]
    y[y == 1] = 0
    np.savez(tmp_path / "rare.npz", x=np.load(tmp_path / "rare.npz")["x"], y=y)
    with pytest.raises(SpecError) as told:
        prepare(experiment)
    assert str(told.value).replace(f"{tmp_path}/", "").splitlines() == [
        "s.yaml:3:30  objective.loss",
        "  `weight: balanced` divides by the targets of each class, and the training part has none of 1",
        "  Give the weights as numbers, or training examples of each class (`stratify: true`).",
    ]


def test_class_weights_of_the_objective_are_told_where_they_belong(tmp_path):
    with pytest.raises(SpecError, match=r"Class weights are those of the loss: `loss: \{cross_entropy: \{weight"):
        prepare(spec(tmp_path, "{classification: {class_weights: balanced}}", 3))
