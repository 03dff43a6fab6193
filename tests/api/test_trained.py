"""Trained networks from Python: measured once more, and asked about arrays, tensors, tables and files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dlx

SPEC = """\
name: s
data: {digits: {train: 120, valid: 60, test: 60, standardize: channel}}
network: {layers: [flatten, {linear: 10}]}
train: {epochs: 2, batch_size: 30, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uses")


@pytest.fixture(scope="module")
def run(home) -> dlx.Run:
    return dlx.train(SPEC, runs=home / "runs", quiet=True)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Pictures as the data set has them, (5, 1, 8, 8), from 0 to 1."""
    from sklearn.datasets import load_digits

    return (load_digits().images[:5, None] / 16).astype(np.float32)


@pytest.fixture(scope="module")
def by_torch(run, digits) -> np.ndarray:
    """Probabilities by the model on standardized pictures, without `dlx.predict`."""
    (step,) = run.lock["data"]["preprocess"]
    (mean,), (deviation,) = (step["statistics"][name]["values"] for name in ("mean", "std"))
    with torch.no_grad():
        return run.model((torch.from_numpy(digits) - mean) / deviation).softmax(1).numpy()


def test_arrays_tensors_lists_and_files_have_one_answer(run, digits, by_torch, tmp_path):
    np.save(tmp_path / "x.npy", digits)
    gradient = torch.from_numpy(digits).clone().requires_grad_()
    for inputs in (digits, digits.astype(np.float64), gradient, digits.tolist(), tmp_path / "x.npy"):
        found = dlx.predict(run, inputs)
        np.testing.assert_allclose(found.probabilities, by_torch, atol=1e-6)
    assert dlx.predict(run.folder, digits[0]).classes.shape == (1,)
    assert dlx.predict(run.key, digits, runs=run.folder.parent.parent).classes.tolist() == by_torch.argmax(1).tolist()


def test_bytes_are_divided_by_255_as_pictures_are(run, digits):
    pixels = np.round(digits * 255).astype(np.uint8)

    np.testing.assert_array_equal(
        dlx.predict(run, pixels).probabilities, dlx.predict(run, pixels / np.float32(255)).probabilities
    )


def test_answers_are_a_frame_with_the_classes_and_their_probabilities(run, digits, by_torch):
    found = dlx.predict(run, digits)
    frame = found.frame

    assert list(frame.columns) == ["class", *(f"p({i})" for i in range(10))]
    assert list(frame.index) == ["0", "1", "2", "3", "4"]
    np.testing.assert_allclose(frame.iloc[:, 1:].to_numpy(), by_torch, atol=1e-6)
    assert len(found) == 5
    assert "<td" in found._repr_html_()
    assert repr(found) == f"<dlx.Predictions of {run.key} for 5 inputs: classes, probabilities>"


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (
            np.zeros((2, 8, 8)),
            r"<inputs> holds an array of shape \(2, 8, 8\), and the network was trained on",
        ),
        (np.zeros((0, 1, 8, 8)), r"shape \(0, 1, 8, 8\)"),
        ([[1.0], [1.0, 2.0]], "<inputs> are no array"),
        (np.array(["a"]), "real numbers are wanted"),
        (np.full((1, 1, 8, 8), np.nan), "<inputs>"),
        (pd.DataFrame({"a": [1.0]}), r"array of shape \(1, 1\)"),
        (Path("nowhere.npy"), "nowhere.npy does not exist"),
        ({"a": [1, 2], "b": [1]}, "<inputs> are no table"),
    ],
    ids=str,
)
def test_inputs_of_another_shape_are_refused_with_both_sides(run, inputs, sentence):
    with pytest.raises(dlx.DlxError, match=sentence):
        dlx.predict(run, inputs)


@pytest.fixture(scope="module")
def table(home) -> dlx.Run:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.normal(size=60), "kind": rng.choice(["a", "b"], 60), "old": rng.random(60) > 0.5}
    )
    frame["price"] = 3 * frame["size"] + (frame["kind"] == "a")
    frame.to_csv(home / "houses.csv", index=False)
    spec = {
        "data": {"table": {"path": str(home / "houses.csv"), "target": "price", "valid": 0.2}},
        "network": {"layers": [{"linear": 1}]},
        "train": {"epochs": 20, "optimizer": {"adam": 0.1}},
        "track": {"mlflow": False},
    }
    return dlx.train(spec, runs=home / "runs", quiet=True)


def test_a_frame_and_a_mapping_of_columns_have_the_answer_of_the_file(table, home):
    frame = pd.read_csv(home / "houses.csv")
    by_file = dlx.predict(table, home / "houses.csv").values
    mixed = frame[["old", "kind", "size"]].set_index(pd.Index([f"house {i}" for i in range(60)]))

    for inputs in (frame, frame.drop(columns="price"), mixed, frame.to_dict("list")):
        np.testing.assert_array_equal(dlx.predict(table, inputs).values, by_file)
    assert list(dlx.predict(table, mixed).frame.index[:2]) == ["house 0", "house 1"]
    assert list(dlx.predict(table, mixed).frame.columns) == ["price"]


@pytest.mark.parametrize("combine", ["mean", "", 3])
def test_another_way_to_combine_is_refused(run, combine):
    for call in (lambda: dlx.evaluate([run, run], combine=combine), lambda: dlx.predict(run, [], combine=combine)):
        with pytest.raises(dlx.DlxError, match=f"`combine` is one of average, vote, unanimous, and not {combine!r}"):
            call()


def test_columns_that_are_missing_or_of_another_type_are_reported(table, home):
    frame = pd.read_csv(home / "houses.csv")
    with pytest.raises(dlx.DataError, match="<inputs> has no column `kind`, which the network was trained on"):
        dlx.predict(table, frame.drop(columns="kind"))
    with pytest.raises(dlx.DataError, match="column `size` of <inputs>"):
        dlx.predict(table, frame.assign(size="large"))
    with pytest.raises(
        dlx.DataError, match=r"hold an array of shape \(60, 3\), and the network was trained on a table"
    ):
        dlx.predict(table, np.zeros((60, 3)))


def test_a_network_measured_once_more_has_the_figures_of_its_training(run):
    found = dlx.evaluate(run)

    assert found.metrics == {name: value for name, value in run.result.items() if not name.startswith("train/")}
    assert dlx.evaluate(run, parts="test").metrics.keys() == {"test/loss", "test/accuracy", "test/error"}
    assert found.frame.loc[run.key, "test/loss"] == run.result["test/loss"]
    assert f"{run.result['test/loss']:.4g}" in found._repr_html_()
    assert repr(found).startswith(f"<dlx.Evaluation of {run.key}: valid/loss ")


def test_other_data_are_fields_of_the_run_as_a_mapping_or_texts(run):
    few = dlx.evaluate(run, parts=["test"], data={"test": 200})

    assert few.metrics == dlx.evaluate(run, parts=["test"], data=["test=200"]).metrics
    assert few.metrics != dlx.evaluate(run, parts=["test"]).metrics


def test_runs_and_seeds_are_measured_alone_and_together(run, home):
    both = dlx.train(SPEC, {"train.seeds": 2}, runs=home / "runs", quiet=True)
    found = dlx.evaluate(both, combine="vote")

    assert [one.run.key for one in found.members] == [one.key for one in both.runs]
    assert "test/ensemble_accuracy" in found.metrics
    assert dlx.evaluate(list(both.runs)).metrics["test/accuracy"] == pytest.approx(both.result["test/accuracy"])
    with pytest.raises(dlx.DlxError, match="2 seeds were trained, each with folder of its own"):
        dlx.predict(both, np.zeros((1, 1, 8, 8)))


def test_a_part_that_is_not_there_is_reported(run):
    with pytest.raises(dlx.DlxError, match="has no part `tset`"):
        dlx.evaluate(run, parts="tset")
