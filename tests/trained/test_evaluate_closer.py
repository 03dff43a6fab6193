"""`dlx evaluate --wrong` and `--by`: the worst examples of a part, and its metrics by the values of a column."""

import csv
import json
from math import log

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

import dlx
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.spec import load
from dlx.trained.closer import Closer
from dlx.trained.evaluate import evaluate
from dlx.trained.predict import predict
from dlx.trained.slices import coded, wilson_interval

PLANTED = [3, 8, 20, 31, 44]
"""Rows of the test part with a wrong label."""
SPEC = """\
name: s
data: {{table: {{path: t.csv, target: {target}, ids: who, split: {{by: part}}, drop: [colour, dose]}}}}
network: {{layers: [{{linear: {out}}}]}}
train: {{epochs: {epochs}, batch_size: 40, optimizer: {{adam: {{lr: 0.05}}}}}}
track: {{mlflow: false}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of two far clusters: 200 rows to train on, and 60 for a test of which five are labelled wrong."""
    folder = tmp_path_factory.mktemp("closer")
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 260)
    x = rng.normal(0, 0.5, (260, 2)) + 2 * kinds[:, None]
    lines = ["who,a,b,colour,dose,part,kind,height"]
    for i, (k, (a, b)) in enumerate(zip(kinds, x, strict=True)):
        of_test = i - 200
        wrong = of_test in PLANTED
        colour = "" if of_test == 50 else "red" if of_test % 3 == 2 else "blue"
        height = 3 * a - b + (40 if wrong else 0)
        part = "train" if of_test < 0 else "test"
        lines.append(f"p{i},{a},{b},{colour},{i / 7:.3f},{part},{('cat', 'dog')[k ^ wrong]},{height}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def trained(folder, target="kind", out=2, epochs=12, *changes):
    (folder / "s.yaml").write_text(SPEC.format(target=target, out=out, epochs=epochs))
    drop = {"kind": "height", "height": "kind"}[target]
    changed = [f"data.table.drop=[colour,dose,{drop}]", *changes]
    return runner.run(load(folder / "s.yaml", changed), folder / "runs").results[0].run


@pytest.fixture(scope="module")
def run(folder):
    return trained(folder)


def look(run, parts=("test",), **closer):
    return evaluate([run], parts=list(parts), closer=Closer(**closer))


# --- the worst ------------------------------------------------------------------------------------------------------


def test_planted_wrong_labels_are_the_worst_and_untrained_weights_do_not_find_them(folder, run):
    planted = {f"p{200 + i}" for i in PLANTED}
    assert set(look(run, wrong=5).wrong[0].names) == planted
    untrained = trained(folder, "kind", 2, 1, "train.optimizer.adam.lr=1e-9")
    assert len(set(look(untrained, wrong=5).wrong[0].names) & planted) < 3


def test_losses_and_probabilities_are_those_of_the_answers(folder, run):
    """By hand from `dlx predict` of the same rows: -log of the probability of the true class."""
    worst = look(run, wrong=60).wrong[0]
    rows = [row for row in csv.DictReader((folder / "t.csv").read_text().splitlines()) if row["part"] == "test"]
    with (folder / "test.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    answers = predict(run, folder / "test.csv")
    by_hand = {}
    for row, p in zip(rows, answers.probabilities.tolist(), strict=True):
        true = ("cat", "dog").index(row["kind"])
        by_hand[row["who"]] = (-log(p[true]), row["kind"], ("cat", "dog")[p[1] > p[0]], p[true], max(p))

    assert worst.titles == ("loss", "true", "predicted", "p(true)", "p(predicted)")
    assert len(worst) == 60
    for name, facts in zip(worst.names, worst.rows, strict=True):
        assert facts[1:3] == by_hand[name][1:3]
        assert [facts[0], *facts[3:]] == pytest.approx([by_hand[name][0], *by_hand[name][3:]], abs=1e-4)
    losses = [row[0] for row in worst.rows]
    assert losses == sorted(losses, reverse=True)
    assert np.mean(losses) == pytest.approx(evaluate([run], parts=["test"]).metrics["test/loss"], rel=1e-5)


def test_the_largest_residuals_of_values_are_found(folder):
    run = trained(folder, "height", 1, 12, "++objective={regression: {scale: standardize}}")
    worst = look(run, wrong=5).wrong[0]
    assert set(worst.names) == {f"p{200 + i}" for i in PLANTED}
    assert worst.titles == ("loss", "true", "predicted", "residual")
    for _, true, predicted, residual in worst.rows:
        assert predicted - true == pytest.approx(residual, abs=1e-4)
        assert residual < -25  # in the unit of the target, which 40 were added to
    untrained = trained(folder, "height", 1, 1, "train.optimizer.adam.lr=1e-9")
    assert np.abs([row[3] for row in look(untrained, wrong=60).wrong[0].rows]).mean() > 3


def test_each_head_has_its_own(folder):
    data = "{table: {path: t.csv, targets: {kind: classes, height: values}, ids: who, split: {by: part},"
    layers = "[{linear: 2, name: kind}, {linear: 1, name: height, from: x}]"
    (folder / "h.yaml").write_text(
        f"name: h\ndata: {data} drop: [colour, dose]}}}}\nnetwork: {{inputs: {{x: [2]}}, outputs: [kind, height], "
        f"layers: {layers.replace('{linear: 2,', '{linear: 2, from: x,')}}}\n"
        "objective: {kind: classification, height: {regression: {scale: standardize}}}\n"
        "train: {epochs: 12, batch_size: 40, optimizer: {adam: {lr: 0.05}}}\ntrack: {mlflow: false}\n"
    )
    run = runner.run(load(folder / "h.yaml"), folder / "runs").results[0].run
    found = look(run, wrong=5, by="colour")
    assert [(one.head, set(one.names)) for one in found.wrong] == [
        (head, {f"p{200 + i}" for i in PLANTED}) for head in ("kind", "height")
    ]
    assert {row[1] for row in found.wrong[0].rows} <= {"cat", "dog"}
    titles, rows = found.table()
    assert titles[:4] == ["part", "input", "kind loss", "kind true"]
    assert "height residual" in titles
    assert len(rows) == 10
    assert "test/kind/error" in found.slices[0].intervals
    assert "test/loss" not in found.slices[0].intervals


# --- slices ---------------------------------------------------------------------------------------------------------


def test_slices_by_a_column_that_is_no_input(folder, run):
    found = look(run, by="colour", wrong=60, keep=("colour",))
    worst = found.wrong[0]
    by_hand: dict[str, list[int]] = {}
    for colour, facts in zip(worst.columns["colour"], worst.rows, strict=True):
        by_hand.setdefault(colour or "missing", []).append(facts[1] != facts[2])

    assert [one.value for one in found.slices] == ["blue", "red", "missing"]
    for one in found.slices:
        errors = by_hand[one.value]
        assert one.count == len(errors)
        assert one.metrics["test/error"] == pytest.approx(np.mean(errors), abs=1e-6)
    total = sum(one.count * one.metrics["test/loss"] for one in found.slices)
    assert total / 60 == pytest.approx(found.metrics["test/loss"], rel=1e-5)
    red = next(one for one in found.slices if one.value == "red")
    assert red.metrics["test/error"] > found.metrics["test/error"]  # three of the five lie there, among 19
    assert "test/loss" not in found.slices[-1].intervals  # of one example


@pytest.mark.parametrize(("k", "n"), [(3, 40), (0, 10), (10, 10), (1, 1)])
def test_the_interval_of_a_share_is_that_of_wilson(k, n):
    ends = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert wilson_interval(k, n) == pytest.approx((ends.low, ends.high), abs=1e-9)


def test_slices_by_class_and_by_quartiles(run):
    by_class = look(run, by="class").slices
    assert [one.value for one in by_class] == ["cat", "dog"]
    assert [one.metrics for one in look(run, by="kind").slices] == [one.metrics for one in by_class]
    quarters = look(run, by="dose").slices
    assert [one.count for one in quarters] == [15] * 4
    assert quarters[0].value.startswith("28.57 to ")
    assert quarters[0].metrics != quarters[1].metrics


def test_a_column_that_knows_nothing_of_the_planted_rows_does_not_show_them(run):
    """By colour red stands out; by class, which was flipped at random, no slice does."""
    reds, kinds = (look(run, by=name).slices for name in ("colour", "class"))
    spread = [max(s.metrics["test/error"] for s in slices) for slices in (reds, kinds)]
    assert spread[0] > spread[1]
    assert reds[1].metrics["test/error"] > 2 * reds[0].metrics["test/error"]


# --- kinds of answers -----------------------------------------------------------------------------------------------


def run_of(folder, data, objective, layers):
    (folder / "k.yaml").write_text(
        f"name: k\ndata: {data}\nobjective: {objective}\nnetwork: {{layers: {layers}}}\n"
        "train: {steps: 2, batch_size: 10}\ntrack: {mlflow: false}\n"
    )
    return runner.run(load(folder / "k.yaml"), folder / "runs").results[0].run


def test_boxes_maps_and_labels(tmp_path):
    shapes = "{shapes: {targets: %s, size: 16, train: 20, valid: 8, test: null%s}}"
    boxes = run_of(tmp_path, shapes % ("boxes", ", grid: 2"), "detection",
                   "[{max_pool: 8}, {conv: {out_channels: 13, kernel_size: 1}}]")  # fmt: skip
    worst = look(boxes, ("valid",), wrong=3).wrong[0]
    assert worst.titles == ("loss", "true", "predicted")
    assert all(isinstance(row[1], list) and row[1] for row in worst.rows)
    maps = run_of(tmp_path, shapes % ("positions", ""), "segmentation", "[{conv: {out_channels: 4, kernel_size: 1}}]")
    found = look(maps, ("valid",), wrong=8)
    assert found.wrong[0].titles == ("loss", "wrong positions")
    shares = [row[1] for row in found.wrong[0].rows]
    assert np.mean(shares) == pytest.approx(found.metrics["valid/error"], abs=1e-6)
    with pytest.raises(DlxError, match="`target` has 256 values for each example, and `--by` takes one"):
        look(maps, ("valid",), by="target")

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "l.npz", x=rng.normal(size=(30, 3)), y=rng.integers(0, 2, (30, 2)).astype(np.float32),
             site=np.arange(30) % 3)  # fmt: skip
    labels = run_of(tmp_path, f"{{arrays: {{path: {tmp_path}/l.npz, test: 12, task: regression}}}}",
                    "{multilabel: {labels: [wet, cold]}}", "[{linear: 2}]")  # fmt: skip
    found = look(labels, wrong=12, by="site", keep=("site",))
    assert {name for row in found.wrong[0].rows for name in row[1]} == {"wet", "cold"}
    assert {one.value: one.count for one in found.slices} == {
        str(k): found.wrong[0].columns["site"].count(k) for k in range(3)
    }
    exact = np.mean([row[1] == row[2] for row in found.wrong[0].rows])
    assert exact == pytest.approx(found.metrics["test/exact_match"], abs=1e-6)


def test_pictures_are_those_before_preprocessing(tmp_path):
    run = run_of(tmp_path, "{digits: {train: 60, test: 20, standardize: channel}}", "classification",
                 "[flatten, {linear: 10}]")  # fmt: skip
    found = look(run, wrong=4, pictures=True)
    raw = load(tmp_path / "k.yaml", ["data.digits.standardize=none"]).data.load().test.x[list(found.wrong[0].places)]
    assert found.pictures[0][..., 0] == pytest.approx(raw[:, 0], abs=1e-6)
    found.write_pictures(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 400
    flat = run_of(tmp_path, "{moons: {train: 40, test: 20}}",
                  "classification", "[{linear: 2}]")  # fmt: skip
    with pytest.raises(DlxError, match="`--png` shows pictures, and the inputs have the shape 2"):
        look(flat, wrong=1, pictures=True)


# --- documents and files --------------------------------------------------------------------------------------------


def test_documents_and_files(run, tmp_path):
    document = json.loads(json.dumps(look(run, wrong=2, by="colour", keep=("dose",)).as_json()))
    first = document["wrong"][0]["examples"][0]
    assert set(first) == {"input", "index", "columns", "loss", "true", "predicted", "p(true)", "p(predicted)"}
    assert first["columns"].keys() == {"dose"}
    assert document["by"]["column"] == "colour"
    low, high = document["by"]["slices"][0]["interval95"]["test/error"]
    assert low <= document["by"]["slices"][0]["metrics"]["test/error"] <= high
    assert "wrong" not in evaluate([run]).as_json()
    look(run, wrong=2).write(tmp_path / "w.csv")
    assert [row["true"] for row in csv.DictReader((tmp_path / "w.csv").read_text().splitlines())] == [
        row[1] for row in look(run, wrong=2).wrong[0].rows
    ]
    look(run, by="colour").write(tmp_path / "s.parquet")
    assert pq.read_table(tmp_path / "s.parquet").column("examples").to_pylist() == [40, 19, 1]
    found = dlx.evaluate(run.dir, parts="test", wrong=3, by="class")
    assert list(found.worst["input"]) == list(found.wrong[0].names)
    assert list(found.by_value["class"]) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("closer", "sentence"),
    [
        ({"keep": ("dose",)}, "`--keep` is about the worst examples\n  Write `--wrong 20` too."),
        ({"wrong": 0}, "`--wrong 0` is no number of examples"),
        ({"by": "color"}, "the data has no column `color`, which `--by` names\n  Did you mean `colour`?"),
        ({"wrong": 1, "keep": ("x",)}, "no column `x`, which `--keep` names"),
        ({"by": "input"}, "`input` has 2 values for each example, and `--by` takes one"),
    ],
)
def test_refusals(run, closer, sentence):
    with pytest.raises(DlxError) as error:
        look(run, **closer)
    assert sentence in str(error.value)


def test_several_networks_answer_by_their_mean_probabilities(folder):
    """By hand from what `dlx predict` gives for each; the mean of all losses is that of the ensemble."""
    runs = [trained(folder, "kind", 2, 2, f"train.seed={seed}") for seed in (1, 2)]
    found = evaluate(runs, parts=["test"], closer=Closer(wrong=60, by="colour"))
    alone = [evaluate([run], parts=["test"], closer=Closer(wrong=60)).wrong[0] for run in runs]
    p_true = [dict(zip(one.names, (row[3] for row in one.rows), strict=True)) for one in alone]
    worst = found.wrong[0]
    for name, row in zip(worst.names, worst.rows, strict=True):
        mean = (p_true[0][name] + p_true[1][name]) / 2
        assert row[3] == pytest.approx(mean, abs=1e-5)
        assert row[0] == pytest.approx(-log(mean), abs=1e-4)
    assert max(abs(p_true[0][name] - p_true[1][name]) for name in worst.names) > 0.01  # the two are not one
    assert np.mean([row[0] for row in worst.rows]) == pytest.approx(found.metrics["test/ensemble_loss"], rel=1e-4)
    total = sum(one.count * one.metrics["test/error"] for one in found.slices)
    assert total / 60 == pytest.approx(found.metrics["test/ensemble_error"], abs=1e-6)


def test_networks_that_vote_have_no_loss_to_sort_by(run):
    with pytest.raises(DlxError, match="`--by` is by the loss of each example, and a vote of 2 networks has none"):
        evaluate([run, run], combine="vote", closer=Closer(by="class"))


def test_too_many_values_are_no_slices():
    with pytest.raises(DlxError, match="`who` has 101 different values, and there are up to 100 slices"):
        coded({"test": [f"p{i}" for i in range(101)]}, ["test"], "who")
    assert torch.equal(coded({"test": [2, 1, 2]}, ["test"], "n")[1]["test"], torch.tensor([1, 0, 1]))
