"""Several labels an example: a sigmoid each, thresholds, metrics on average and of each."""

import csv
import json

import numpy as np
import pytest
import sklearn.metrics as theirs
import torch
from complaints import report
from torch import nn

from dlx.experiment.runner import prepare, run
from dlx.experiment.session import job_of
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.trained.evaluate import evaluate
from dlx.trained.predict import predict
from dlx.training.fit import fit

NAMES = ["red", "green", "blue"]
SPEC = """\
data: {{table: {{path: labels.csv, target: [red, green, blue], task: regression, valid: 40, test: 80}}}}
network: {{layers: [{{linear: 3}}]}}
objective: {objective}
train: {{epochs: 12, batch_size: 20, device: cpu, optimizer: {{adam: 0.05}}}}
track: {{mlflow: false}}
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(320, 4)).round(3)
    y = (x @ rng.normal(size=(4, 3)) + [0, -2, 1] > 0).astype(int)
    write(tmp_path / "labels.csv", x, y)
    write(tmp_path / "shuffled.csv", x, y[rng.permutation(len(y))])
    return tmp_path


def write(path, x, y):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [[*"abcd", *NAMES], *([*a, *b] for a, b in zip(x.tolist(), y.tolist(), strict=True))]
        )


def spec(folder, objective="multilabel", *overrides):
    path = folder / "s.yaml"
    path.write_text(SPEC.format(objective=objective))
    return load(path, overrides)


def test_the_loss_is_torchs_and_the_metrics_are_scikit_learns(folder):
    one = job_of(prepare(spec(folder, "{multilabel: {metrics: [f1, auroc, auprc], threshold: [0.5, 0.3, 0.7]}}")))
    end = list(fit(one))[-1].metrics
    x, y = one.parts["test"].x, one.parts["test"].y
    with torch.no_grad():
        logits = one.network(x)
    said = (logits.sigmoid() > torch.tensor([0.5, 0.3, 0.7])).int()

    assert end["test/loss"] == pytest.approx(
        nn.functional.binary_cross_entropy_with_logits(logits, y).item(), rel=1e-5
    )
    assert end["test/exact_match"] == pytest.approx(theirs.accuracy_score(y, said))
    assert end["test/hamming_loss"] == pytest.approx(theirs.hamming_loss(y, said))
    assert end["test/f1"] == pytest.approx(theirs.f1_score(y, said, average="macro"))
    assert end["test/auroc"] == pytest.approx(theirs.roc_auc_score(y, logits))
    assert end["test/auprc"] == pytest.approx(theirs.average_precision_score(y, logits))


def test_it_learns_labels_and_no_shuffled_ones(folder):
    figures = []
    for file in ("labels.csv", "shuffled.csv"):
        one = job_of(prepare(spec(folder, "{multilabel: {metrics: [auroc]}}", f"data.table.path={folder / file}")))
        figures.append(list(fit(one))[-1].metrics["test/auroc"])

    assert figures[0] > 0.97
    assert 0.35 < figures[1] < 0.65


def test_balanced_pos_weight_is_zeros_to_each_one_of_the_training_part(folder):
    made = prepare(spec(folder, "{multilabel: {loss: {binary_cross_entropy: {pos_weight: balanced}}}}"))
    y = torch.from_numpy(made.sets.train.y)
    expected = (len(y) - y.sum(0)) / y.sum(0)

    assert made.supervised.loss.pos_weight == pytest.approx(expected.tolist())

    output = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(0))
    ours = made.supervised.loss_function()(output, y)
    assert ours.item() == pytest.approx(nn.BCEWithLogitsLoss(pos_weight=expected)(output, y).item(), rel=1e-6)


def test_metrics_of_each_label_have_its_column_as_name_and_can_be_followed(folder):
    objective = f"{{multilabel: {{metrics: [f1], per_label: true, labels: {NAMES}}}}}"
    following = "train.early_stopping={metric: valid/f1/green, patience: 3}"
    one = job_of(prepare(spec(folder, objective, following)))
    assert one.progress.stopping.mode == "max"
    end = list(fit(one))[-1].metrics
    with torch.no_grad():
        said = one.network(one.parts["valid"].x) > 0

    expected = theirs.f1_score(one.parts["valid"].y, said, average=None)
    assert [end[f"valid/f1/{name}"] for name in NAMES] == pytest.approx(expected.tolist())

    unnamed = job_of(prepare(spec(folder, "{multilabel: {metrics: [f1], per_label: true}}")))
    assert unnamed.objective.labels == NAMES


def test_a_run_is_evaluated_and_predicts_the_labels_above_their_thresholds(folder):
    objective = "{multilabel: {threshold: [0.5, 0.2, 0.8], loss: {binary_cross_entropy: {pos_weight: balanced}}}}"
    done = run(spec(folder, objective), folder / "runs").results[0].run

    found = evaluate([done], parts=["test"]).metrics
    assert found == {name: value for name, value in done.end()["metrics"].items() if name.startswith("test/")}
    changed = evaluate([done], parts=["test"], data=["test=40"]).metrics
    assert changed["test/exact_match"] != found["test/exact_match"]

    (surer,) = predict(done, folder / "labels.csv", threshold=0.9).indicators[:1]
    answers = predict(done, folder / "labels.csv")
    assert surer.tolist() == (answers.probabilities[0] > 0.9).tolist()
    assert (answers.indicators == (answers.probabilities > [0.5, 0.2, 0.8])).all()
    titles, rows = answers.rows()
    assert titles == ["input", *NAMES, "p(red)", "p(green)", "p(blue)"]
    assert rows[0][1:4] == answers.indicators[0].tolist()
    said = json.loads(json.dumps(answers.as_json()))["predictions"][0]["labels"]
    assert said == [name for name, yes in zip(NAMES, answers.indicators[0], strict=True) if yes]


WEIGHTS = (
    "Weights are those of the loss: `loss: {binary_cross_entropy: {pos_weight: balanced}}`, or a number in place"
)


@pytest.mark.parametrize(
    ("data", "objective", "outputs", "place", "message", "hint"),
    [
        (
            "classes: 3",
            "multilabel",
            3,
            "s.yaml:2:21",
            "one a label, and the data has 3 classes",
            "Give several columns",
        ),
        ("target: [3]", "multilabel", 2, "s.yaml:2:21", "ends in (2,), and the data has 3 labels", "be `linear: 3`."),
        (
            "target: [3]",
            "{multilabel: {threshold: [0.5, 0.2]}}",
            3,
            "s.yaml:2:21",
            "has 2 values, and the data has 3",
            "",
        ),
        (
            "target: [3]",
            "{multilabel: {loss: {binary_cross_entropy: {pos_weight: [1, 2]}}}}",
            3,
            "s.yaml:2:21",
            "`pos_weight` has 2 values, and a target is (3,)",
            "",
        ),
        (
            "target: [3]",
            "{multilabel: {loss: cross_entropy}}",
            3,
            "s.yaml:2:21",
            "cross_entropy wants classes, and multilabel has labels of 0 and 1",
            "Use `loss: binary_cross_entropy`.",
        ),
        (
            "target: [3]",
            "{multilabel: {metrics: [perplexity]}}",
            3,
            "s.yaml:3:",
            "the metric perplexity is not for multilabel, which has labels",
            "",
        ),
        ("target: [3]", "{multilabel: {pos_weight: 2}}", 3, "s.yaml:3:26", "has no field `pos_weight`", WEIGHTS),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, data, objective, outputs, place, message, hint):
    told = report(
        tmp_path,
        f"data: {{synthetic: {{shape: [5], {data}, train: 10}}}}\n"
        f"network: {{layers: [{{linear: {outputs}}}]}}\nobjective: {objective}\ntrain: {{steps: 1}}\n",
    )
    assert told.startswith(place)
    assert message in told
    assert hint in told


def test_targets_other_than_0_and_1_are_told_before_training(folder):
    text = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([text[0], *(f"{line[:-1]}2" for line in text[1:])]))
    with pytest.raises(Exception, match=r"multilabel is for targets of 0 and 1, and 2 is among these in the part"):
        prepare(spec(folder))


def test_a_label_that_all_have_cannot_be_balanced():
    loss = OBJECTIVES["multilabel"].model_validate({"loss": {"binary_cross_entropy": {"pos_weight": "balanced"}}})
    statistics = loss.target_statistics(np.float32([[1, 0], [1, 1]]))
    assert statistics == {"positives": [2, 1], "count": 2}
    with pytest.raises(ValueError, match="divides targets of 0 by targets of 1, and all 2 of label 0 are 1"):
        loss.fitted(statistics)
