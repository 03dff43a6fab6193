"""Folds, baselines and comparisons from Python: the figures of the commands, as frames."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import dlx
from dlx.cli import app

SPEC = """\
name: s
data: {digits: {train: 200, valid: 60, test: 60}}
network: {layers: [flatten, {linear: 10}]}
train: {epochs: 1, batch_size: 50, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("comparisons")


@pytest.fixture(scope="module")
def table(home):
    return dlx.baseline(SPEC, ["knn=1,3", "dummy"], runs=home, quiet=True)


def command(*texts):
    done = CliRunner().invoke(app, [*map(str, texts), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_baselines_are_a_frame_with_the_figures_of_the_command(table, home):
    (home / "s.yaml").write_text(SPEC)
    document = command("baseline", home / "s.yaml", "--kind", "knn=1,3", "--kind", "dummy", "--runs", home / "again")

    assert isinstance(table.frame, pd.DataFrame)
    assert table.frame.index.tolist() == [one["label"] for one in document["baselines"]]
    for one in document["baselines"]:
        row = table.frame.loc[one["label"]]
        assert row["test/accuracy"] == one["metrics"]["test/accuracy"]
        assert row["features"] == 64
    assert table.frame.loc["knn (n_neighbors 1)", "test/accuracy"] > 0.8
    assert table.frame.loc["dummy", "test/accuracy"] < 0.2
    assert {label: len(runs) for label, runs in table.runs.items()} == dict.fromkeys(table.frame.index, 1)
    assert table.runs["dummy"][0].result["test/accuracy"] == table.frame.loc["dummy", "test/accuracy"]
    assert table.intervals["test/accuracy"].isna().all()
    assert "dummy" in table._repr_html_()


def test_baselines_of_folds_have_intervals(home):
    found = dlx.baseline(SPEC, "dummy", folds=3, runs=home / "folds", quiet=True)

    values = [run.result["valid/accuracy"] for run in found.runs["dummy"]]
    assert found.frame.loc["dummy", "valid/accuracy"] == pytest.approx(np.mean(values))
    half = 4.302653 * np.std(values, ddof=1) / 3**0.5  # Student's t for two degrees of freedom
    assert found.intervals.loc["dummy", "valid/accuracy"] == pytest.approx(half, rel=1e-5)


def test_a_cross_validation_has_the_mean_of_its_folds(home):
    found = dlx.crossval(SPEC, folds=3, runs=home, quiet=True)

    values = found.folds["valid/accuracy"]
    assert found.folds.index.tolist() == [1, 2, 3]
    assert found.folds["state"].tolist() == ["finished"] * 3
    row = found.frame.loc["valid/accuracy"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["standard_error"] == pytest.approx(values.std() / 3**0.5)
    assert row["interval95"] == pytest.approx(4.302653 * values.std() / 3**0.5, rel=1e-5)
    assert [run.result["valid/accuracy"] for run in found.runs] == values.tolist()
    assert dlx.crossval(SPEC, folds=3, runs=home, quiet=True).folder == found.folder  # read, and not trained again
    assert "3 folds" in repr(found)


def test_a_network_is_compared_with_its_baselines_as_the_command_does(table, home):
    trained = dlx.train(SPEC, runs=home, quiet=True)
    others = [runs[0] for runs in table.runs.values()]
    found = dlx.compare(trained, *others, runs=home)
    document = command("compare", trained.folder, *(one.folder for one in others), "--runs", home)

    of, metric = "knn (n_neighbors 1)", "test/accuracy"
    label = next(label for label in found.remarks if of in label)
    row = found.frame.loc[(label, metric)]
    assert row["first"] == trained.result[metric]
    assert row["second"] == table.frame.loc[of, metric]
    assert row["difference"] == pytest.approx(row["second"] - row["first"])
    assert row["pairs"] == 1
    assert np.isnan(row["interval95"])  # one pair
    text = json.dumps(document)
    assert all(one in text for one in map(json.dumps, found.remarks.values()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dlx.baseline(SPEC), "no baselines are named"),
        (lambda: dlx.baseline(SPEC, "knn", folds=1), "`folds` is a whole number from 2, and not 1"),
        (lambda: dlx.crossval(SPEC, folds="all"), "`folds` is one of leave_one_out, and not 'all'"),
        (
            lambda: dlx.crossval(SPEC, ["train.seed=1,2"]),
            "`train.seed` varies, and a cross-validation is of one spec",
        ),
        (lambda: dlx.compare("nothing"), "nothing"),
    ],
)
def test_wrong_arguments_are_a_sentence(call, message):
    with pytest.raises(dlx.DlxError) as refused:
        call()
    assert message in str(refused.value)
