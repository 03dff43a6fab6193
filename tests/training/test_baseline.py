"""A training that ends no better than a guess says so, by the part that was held out."""

import json
from math import sqrt
from types import SimpleNamespace

import pytest
import torch
from helpers import experiment_of

from dlx import cli
from dlx.experiment import runner
from dlx.losses import LOSSES
from dlx.objectives import OBJECTIVES
from dlx.training.baseline import notes

CLASSES, VALUES = OBJECTIVES["classification"](), OBJECTIVES["regression"]()


def remarks(objective, metrics, **parts) -> tuple[str, ...]:
    names = SimpleNamespace(targets=("target",))
    known = {name: SimpleNamespace(names=names, fields={"target": torch.as_tensor(y)}) for name, y in parts.items()}
    return notes(SimpleNamespace(objective=objective, parts=known), metrics)


TRAIN, TEST = [0] * 50 + [1] * 30 + [2] * 20, [0] * 40 + [1] * 60
BOUND = 0.4 + 1.645 * sqrt(0.4 * 0.6 / 100)
"""0 is the most frequent class in training, and 0.4 of the test part: 0.4806 with 1.645 deviations of 0.049."""


@pytest.mark.parametrize(("accuracy", "said"), [(0.1, True), (0.4, True), (0.48, True), (0.49, False), (1.0, False)])
def test_classes_against_the_most_frequent_class_of_the_training_part(accuracy, said):
    found = remarks(CLASSES, {"test/accuracy": accuracy, "valid/accuracy": 0.0}, train=TRAIN, valid=TEST, test=TEST)
    sentence = (
        f"no better than guessing: test/accuracy {accuracy:.4g}, and naming the most frequent class of the training "
        f"part each time gives 0.4, by chance up to {BOUND:.4g} with 100 examples"
    )
    assert found == ((sentence,) if said else ())


def test_the_part_that_was_held_out_last_counts():
    metrics = {"train/accuracy": 1.0, "valid/accuracy": 0.1}
    assert "valid/accuracy 0.1" in remarks(CLASSES, metrics, train=TRAIN, valid=TEST)[0]
    assert remarks(CLASSES, metrics, train=TRAIN) == ()


def test_classes_that_do_not_count_are_no_guess():
    ignoring = OBJECTIVES["classification"](loss=LOSSES["cross_entropy"](ignore_index=2))
    found = remarks(ignoring, {"test/accuracy": 0.5}, train=[2] * 90 + [1] * 6 + [0] * 4, test=[2] * 9 + [1, 0])
    assert "gives 0.5," in found[0]


@pytest.mark.parametrize(("mse", "said"), [(1.2, True), (1.0, True), (0.77, True), (0.76, False), (0.0, False)])
def test_values_against_the_mean_of_the_training_part(mse, said):
    """Squares of 0 and 2 in turn: mean 1, deviation sqrt(50 / 49), so 1 - 1.645 * 1.0102 / sqrt(50) = 0.765."""
    test = [[3.0], [3.0 + sqrt(2)]] * 25
    found = remarks(VALUES, {"test/mse": mse}, train=[[2.0], [4.0]], test=test)
    sentence = (
        f"no better than guessing: test/mse {mse:.4g}, and predicting the mean of the training part gives 1, by "
        "chance down to 0.765 with 50 examples"
    )
    assert found == ((sentence,) if said else ())


SPEC = """
dlx: 1
name: s
data: {synthetic: {shape: [4], classes: 3, train: 96, valid: 48, test: 48}}
network: {layers: [{linear: 3}]}
train: {epochs: 20, seeds: 2, batch_size: 16, optimizer: {adam: RATE}, device: cpu}
track: {mlflow: false}
"""


def test_the_last_lines_of_a_training_say_so_for_each_seed(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("RATE", "1e-9"))
    cli.app(["train", str(path), "--runs", str(tmp_path / "runs"), "train.seeds=3"], standalone_mode=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if "no better than guessing" in line]
    runs = runner.run(experiment_of(SPEC.replace("RATE", "1e-9")), tmp_path / "again")
    notes = runs.as_json()["notes"]
    assert lines
    assert notes == [line.partition(": ")[2] for line in lines if line.startswith(("seed 0: ", "seed 1: "))]
    assert json.dumps(notes)


def test_without_a_terminal_the_lines_of_several_seeds_say_whose_they_are(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("RATE", "0.05").replace("epochs: 20", "epochs: 2"))

    def evaluations(*changes):
        cli.app(["train", str(path), "--runs", str(tmp_path / "runs"), *changes], standalone_mode=False)
        return [line.partition("  epoch")[0] for line in capsys.readouterr().err.splitlines() if "  epoch " in line]

    assert sorted(evaluations("train.seed=4")) == [f"seed {s}  step {n}" for s in (4, 5) for n in (12, 6)]
    assert evaluations("train.seeds=1") == ["step 6", "step 12"]


def test_a_training_that_learned_says_nothing(tmp_path):
    found = runner.run(experiment_of(SPEC.replace("RATE", "0.05")), tmp_path / "runs")
    assert found.as_json()["notes"] == []
