"""A run whose validation loss is infinite: every document is JSON as RFC 8259 has it, and every list is there."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from dlx import cli

SPEC = """\
data: {arrays: {path: a.npz, valid_x: valid_x, valid_y: valid_y}}
network: {layers: [{linear: 1}]}
objective: regression
train: {epochs: 2, batch_size: 8, optimizer: {sgd: 0.01}, keep_best: 2}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("not-finite")
    x = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
    far = np.full((4, 1), 1e30, np.float32)  # its square is no float32
    np.savez(folder / "a.npz", x=x, y=x[:, :1], valid_x=x[:4], valid_y=far)
    np.save(folder / "x.npy", np.full((2, 2), 3e38, np.float32))
    (folder / "s.yaml").write_text(SPEC)
    return folder


def dlx(home, *words, code=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        done = CliRunner().invoke(cli.app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def document(home, *words):
    return json.loads(dlx(home, *words, "--json"), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def trained(home):
    return document(home, "train", "s.yaml")


def test_train_has_a_word_for_it(trained):
    assert (trained["metrics"]["valid/loss"], trained["metrics"]["valid/mse"]) == ("inf", "inf")
    assert [(one["name"], one["value"]) for one in trained["kept"]] == [("best-1", "inf"), ("best-2", "inf")]


def test_evaluate_and_the_list_have_it_too(home, trained):
    assert document(home, "evaluate", trained["run"])["metrics"]["valid/loss"] == "inf"
    assert document(home, "runs")["runs"][0]["metrics"]["valid/loss"] == "inf"
    assert document(home, "runs")["runs"][0]["kept"] == trained["kept"]


def test_runs_lists_it(home, trained):
    (line,) = [line for line in dlx(home, "runs").splitlines() if line.startswith(trained["run"])]
    assert "valid/loss inf" in line
    assert "best-1 inf (step 3)" in line


def test_predict_shows_values_beyond_any_float(home, trained, monkeypatch):
    monkeypatch.setattr(
        "dlx.trained.predict.Predicted._one", lambda self, i: {"values": [float("-inf"), float("nan")]}
    )
    assert document(home, "predict", trained["run"], "x.npy")["predictions"][0]["values"] == ["-inf", "nan"]


def test_seeds_have_a_mean_and_no_interval(home):
    found = document(home, "train", "s.yaml", "train.seeds=2")
    assert found["metrics"]["valid/loss"] == "inf"
    assert "valid/loss" not in found["interval95"]


def test_reproduce_compares_it(home, trained):
    found = document(home, "reproduce", trained["run"])
    assert found["verdict"] == "bitwise equal"


def test_a_sweep_ranks_it(home):
    found = document(home, "sweep", "s.yaml", "train.optimizer.sgd.lr=0.01,0.02", "~train.keep_best")
    assert [place["mean"] for place in found["leaderboard"]] == ["inf", "inf"]
