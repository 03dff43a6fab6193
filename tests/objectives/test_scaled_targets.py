"""Targets that are standardised in training, with predictions and metrics in their own unit."""

import numpy as np
import pytest
import torch
from complaints import report

from dlx.data import input_record
from dlx.experiment.runner import prepare, run
from dlx.experiment.session import job_of
from dlx.objectives import OBJECTIVES
from dlx.spec import load
from dlx.trained.evaluate import evaluate
from dlx.trained.predict import predict
from dlx.training.fit import fit

SPEC = """\
data: {arrays: {path: prices.npz, task: regression, valid: 20, test: 40}}
network: {layers: [{linear: 1}]}
objective: {regression: {scale: standardize, metrics: [r2]}}
train: {epochs: 20, batch_size: 20, device: cpu, optimizer: {adam: 0.05}}
track: {mlflow: false}
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(240, 3)).astype("float32")
    y = 250_000 + 40_000 * (x @ [1, -1, 0.5]) + 5_000 * rng.normal(size=240)
    np.savez(tmp_path / "prices.npz", x=x, y=y.astype("float32")[:, None])
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path


def test_the_loss_is_of_standardised_targets_and_the_metrics_in_their_own_unit(folder):
    made = prepare(load(folder / "s.yaml"))
    one = job_of(made)
    end = list(fit(one))[-1].metrics
    train, test = made.sets.train.y, made.sets.test.y
    with torch.no_grad():
        answers = one.network(one.parts["test"].x).numpy().astype("float64")
    mean, std = train.astype("float64").mean(), train.astype("float64").std()

    assert made.target_statistics == {"mean": [pytest.approx(mean)], "std": [pytest.approx(std)]}
    assert end["test/loss"] == pytest.approx(np.square(answers - (test - mean) / std).mean(), rel=1e-4)
    assert end["test/mae"] == pytest.approx(np.abs(answers * std + mean - test).mean(), rel=1e-4)
    assert end["test/mse"] == pytest.approx(end["test/loss"] * std**2, rel=1e-4)
    assert made.objective.notes()[0].startswith("losses are of standardised targets, of which the deviation is ")


def test_it_learns_prices_that_the_same_training_without_it_misses(folder):
    scaled = list(fit(job_of(prepare(load(folder / "s.yaml")))))[-1].metrics["test/r2"]
    plain = load(folder / "s.yaml", ["objective.regression.scale=none"])
    unscaled = list(fit(job_of(prepare(plain))))[-1].metrics["test/r2"]

    assert scaled > 0.95
    assert unscaled < 0


def test_a_run_predicts_and_is_evaluated_in_the_own_unit_without_its_data(folder):
    done = run(load(folder / "s.yaml"), folder / "runs").results[0].run
    x, y = (np.load(folder / "prices.npz")[name] for name in "xy")
    statistics = input_record.load(done.dir).targets

    answers = predict(done, folder / "prices.npz").values
    assert np.abs(answers - y).mean() < 8_000
    assert done.lock()["data"]["targets"] == statistics

    # other data is evaluated with the mean and deviation of the training, not with its own
    np.savez(folder / "dearer.npz", x=x[:100] + 1, y=y[:100])
    there = evaluate([done], parts=["test"], data=[f"path={folder / 'dearer.npz'}"]).metrics
    assert there["test/mae"] > 10_000
    again = evaluate([done], parts=["test"]).metrics
    assert again["test/mae"] == done.end()["metrics"]["test/mae"]


def test_several_values_have_a_scale_each_and_a_constant_one_is_divided_by_1(folder):
    x = np.load(folder / "prices.npz")["x"]
    np.savez(folder / "prices.npz", x=x, y=np.stack([x[:, 0] * 1000, 0 * x[:, 0] + 7], 1))
    made = prepare(load(folder / "s.yaml", ["network.layers=[{linear: 2}]"]))

    assert made.target_statistics["std"][1] == 1
    assert made.target_statistics["std"][0] == pytest.approx(made.sets.train.y[:, 0].std(), rel=1e-5)
    scaled = made.supervised.scaled(torch.from_numpy(made.sets.train.y))
    assert scaled.std(0, correction=0).tolist() == pytest.approx([1, 0], abs=1e-5)


def test_without_data_there_is_no_scale_and_it_is_told():
    objective = OBJECTIVES["regression"].model_validate({"scale": "standardize"})
    with pytest.raises(ValueError, match="`scale: standardize` follows from the training part of the data"):
        objective.loss_function()(torch.zeros(2, 1), torch.zeros(2, 1))


def test_another_word_for_it_is_told(tmp_path):
    text = "network: {inputs: [2], layers: [{linear: 1}]}\nobjective: {regression: {scale: standardise}}\n"
    assert '`scale` must be "none" or "standardize", not "standardise"' in report(tmp_path, text)
