"""`dlx compare`: differences between specs, paired where seeds and data agree, and a reason where they do not."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from dlx import spec as specs
from dlx.errors import DlxError
from dlx.experiment import baselines, runner
from dlx.runs.folder import RunFolder
from dlx.show import comparison as shown
from dlx.spec.baseline_list import with_baselines
from dlx.sweeps import run as sweeps
from dlx.sweeps.folds import plan_folds
from dlx.trained.difference import compare, draw_of, groups_of, likeness_of, spec_of_run, welch

SPEC = """\
dlx: 1
name: wide
data: {arrays: {path: a.npz, valid: 30, test: 30}}
network: {layers: [{linear: 3}]}
train: {steps: 6, batch_size: 16, optimizer: {adam: 0.1}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Runs of two networks with three seeds each, of one on other data, and of baselines."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    np.savez(folder / "a.npz", x=(rng.normal(size=(150, 4)) + np.eye(3, 4)[y]).astype(np.float32), y=y)
    (folder / "s.yaml").write_text(SPEC)
    narrow = ["name=narrow", "network.layers=[{linear:1},{linear:3}]"]
    trained(folder, "train.seeds=3")
    trained(folder, *narrow, "train.seeds=3")
    trained(folder, "name=one", "train.steps=7")
    trained(folder, "name=other", "data.arrays.seed=5", "train.seeds=2")
    trained(folder, "name=later", "train.seed=7")
    trained(folder, "name=scaled", "data.arrays.standardize=feature", "train.seeds=3")
    fitted = with_baselines(specs.load(folder / "s.yaml"), ["knn=3", "random_forest=5"])
    baselines.run(fitted, folder / "runs")
    return folder


def trained(folder, *changes):
    return runner.run(specs.load(folder / "s.yaml", list(changes)), folder / "runs")


def errors(group, metric="valid/loss"):
    return [group.values(metric)[draw] for draw in sorted(group.metrics)]


def test_a_run_stands_for_those_that_differ_in_seed_alone(home):
    (group, *_) = groups_of("wide", home / "runs")

    assert group.description == "3 runs, seeds 0 to 2"
    assert [draw_of(run) for run in group.runs] == [(0, None), (1, None), (2, None)]
    (same,) = groups_of(group.runs[1].key, home / "runs")
    assert [run.key for run in same.runs] == [run.key for run in group.runs]


def test_equal_seeds_on_equal_data_are_paired(home):
    found = compare(["narrow", "scaled"], home / "runs")[0]
    metric = next(one for one in found.metrics if one.metric == "valid/loss")
    first, second = errors(found.first), errors(found.second)
    witness = stats.ttest_rel(second, first).confidence_interval(0.95)

    assert metric.mean == pytest.approx(np.mean(second) - np.mean(first))
    assert metric.interval == pytest.approx((witness.high - witness.low) / 2)
    assert found.remark == "paired by seeds on the same data, preprocessed in two ways: 3 pairs"


def test_other_data_is_not_paired_and_the_interval_is_of_two_means(home):
    found = compare(["narrow", "other"], home / "runs")[0]
    metric = next(one for one in found.metrics if one.metric == "valid/loss")
    witness = stats.ttest_ind(errors(found.second), errors(found.first), equal_var=False).confidence_interval(0.95)

    assert metric.interval == pytest.approx((witness.high - witness.low) / 2)
    assert found.remark == "not paired: the data differs; the interval is of two independent means (Welch)"


def test_other_seeds_are_not_paired(home):
    found = compare(["narrow", "later"], home / "runs")[0]

    assert found.remark.startswith("not paired: 3 runs, seeds 0 to 2 and 1 run, seed 7 have no seed in common")
    assert found.metrics[0].interval is None


def test_a_single_pair_has_no_interval(home):
    found = compare(["narrow", "one"], home / "runs")[0]

    assert found.remark == (
        "paired by seeds on the same data: 1 pair, 2 without a counterpart are left out; one pair has no interval"
    )
    assert (found.metrics[0].interval, found.metrics[0].verdict) == (None, "")


def test_a_baseline_that_draws_nothing_stands_beside_each_seed(home):
    each = {one.second.label: one for one in compare(["narrow", "wide"], home / "runs")}

    assert set(each) == {"wide", "wide: knn (n_neighbors 3)", "wide: random_forest (n_estimators 5)"}
    nearest = each["wide: knn (n_neighbors 3)"]
    assert nearest.remark == (
        "paired by seeds on the same data: 3 pairs; wide: knn (n_neighbors 3) draws nothing, and stands beside each"
    )
    error = next(one for one in nearest.metrics if one.metric == "valid/error")
    knn = nearest.second.values("valid/error")[(0, None)]
    assert error.mean == pytest.approx(np.mean([knn - value for value in errors(nearest.first, "valid/error")]))
    assert len(each["wide: random_forest (n_estimators 5)"].pairs) == 1


def test_a_network_does_not_differ_from_itself_but_from_one_that_learned_nothing(home):
    """The verdict: nothing between equal runs, a difference from the broken twin with a rate of zero."""
    trained(home, "name=twin", "train.seeds=3")
    trained(home, "name=broken", "train.seeds=3", "train.optimizer.adam.lr=1e-9")
    (same,) = [one for one in compare(["narrow", "narrow", "wide"], home / "runs") if one.second.label == "wide"]
    equal = next(one for one in compare(["twin", "wide"], home / "runs") if one.second.label == "wide")
    worse = compare(["twin", "broken"], home / "runs")[0]

    assert {one.verdict for one in equal.metrics} == {"equal"}
    assert next(one for one in worse.metrics if one.metric == "test/loss").verdict == "differs"
    assert len(same.pairs) == 3


def test_cross_validations_are_paired_by_folds(home):
    folders = []
    for changes in ([], ["network.layers=[{linear:1},{linear:3}]"]):
        made, _ = plan_folds(home / "s.yaml", [*changes, "name=cv"], home / "runs", 3)
        folders.append(str(sweeps.run(made, sweeps.SweepOptions()).study.folder))
    found = compare(folders, home / "runs")[0]

    assert found.remark == "paired by folds on the same data: 3 pairs"
    assert found.second.description == "3 runs, seed 0, folds 1 to 3"


def test_the_table_and_the_document(home, capsys):
    found = compare(["narrow", "scaled"], home / "runs")
    shown.comparisons(found, "table")
    lines = capsys.readouterr().out.splitlines()
    shown.comparisons(found, "json")
    document = json.loads(capsys.readouterr().out)

    assert lines[0].split() == ["metric", "narrow", "scaled", "difference", "±", "95", "%"]
    assert lines[-3:] == [
        *("narrow: 3 runs, seeds 0 to 2", "scaled: 3 runs, seeds 0 to 2"),
        "paired by seeds on the same data, preprocessed in two ways: 3 pairs",
    ]
    other = document["others"][0]
    assert (document["first"]["label"], other["label"], other["paired"], other["pairs"]) == (
        *("narrow", "scaled"),
        *(True, 3),
    )
    assert set(other["metrics"]["test/error"]) == {"first", "second", "difference", "interval95", "verdict"}


def test_the_comparisons_are_tables_of_a_document_too(home, capsys):
    found = [one for one in compare(["wide", "narrow"], home / "runs") if one.second.label == "narrow"]
    (error,) = [one for one in found[0].metrics if one.metric == "test/error"]
    shown.comparisons(found, "csv")
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    row = rows["test/error"]
    figures = (error.first, error.second, error.mean, error.interval)
    assert [float(row[key]) for key in ("first_value", "second_value", "difference", "interval95")] == list(figures)
    assert (row["first"], row["second"], row["paired"], row["pairs"]) == ("wide", "narrow", "true", "3")

    shown.comparisons(found, "markdown")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| metric | wide | narrow | difference | ± 95 % |  |"
    assert f"| test/error | {error.first:.4g} | {error.second:.4g} |" in "\n".join(lines)
    assert "paired by seeds on the same data: 3 pairs" in lines

    shown.comparisons(found, "latex")
    assert "% paired by seeds on the same data: 3 pairs\n" in capsys.readouterr().out


def test_runs_without_a_metric_in_common_are_told_what_each_has(home, capsys):
    trained(home, "name=density", "objective=flow", "network.layers=[actnorm,{affine_coupling:{hidden:[4]}}]")
    (found,) = compare(["one", "density"], home / "runs")
    shown.comparisons([found], "table")

    assert found.metrics == []
    first, second = (", ".join(group.metrics[0, None]) for group in (found.first, found.second))
    assert "test/error" in first
    assert "test/log_likelihood" in second
    assert capsys.readouterr().out.splitlines()[0].startswith("one: 1 run, seed 0")
    assert found.remark == f"they have no metric in common: one has {first}; density has {second}"


def test_welch_is_that_of_scipy_and_unknown_for_one_value():
    one, other = [1.0, 2.0, 4.0], [2.0, 5.0, 9.0, 10.0]
    witness = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)

    assert welch(one, other) == pytest.approx((witness.high - witness.low) / 2)
    assert welch([1.0], other) is None
    assert welch([1.0, float("inf")], other) is None
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0.0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["narrow"], "there is one spec to compare, narrow with 3 runs, seeds 0 to 2"),
        (["narrow", "narow"], "there is no run `narow`"),
    ],
)
def test_what_cannot_be_compared_is_told(home, names, message):
    with pytest.raises(DlxError, match=message):
        compare(names, home / "runs")


# --- specs that differ in their seed --------------------------------------------------------------------------------


def written(folder, text):
    folder.mkdir()
    (folder / "spec.yaml").write_text(text)
    return RunFolder(folder)


def test_specs_that_differ_in_the_seed_are_alike_and_each_has_its_own(tmp_path):
    text = "dlx: 1\nname: s\ntrain:\n  steps: 5\n  seed: {}\n  optimizer:\n    adam: 0.1\ntrack:\n  mlflow: false\n"
    runs = [written(tmp_path / str(seed), text.format(seed)) for seed in (3, 12, 0)]
    for run, seed in zip(runs, (3, 12, 0), strict=True):
        assert list(spec_of_run(run)["train"].items()) == [("steps", 5), ("seed", seed), ("optimizer", {"adam": 0.1})]
    assert len({likeness_of(run) for run in runs}) == 1
    other = written(tmp_path / "other", text.format(3).replace("steps: 5", "steps: 6"))
    assert likeness_of(other) != likeness_of(runs[0])
    assert spec_of_run(other)["train"]["steps"] == 6


@pytest.mark.parametrize(
    "text",
    [
        "train:\n average:\n  seed: {}\n seed: 7\n",  # a seed of something else
        "train:\n average:\n  seed: {}\n seed: 3\n",
        "train:\n  average:\n    seed: {}\n  seed: 3\n",
        "train:\n  optimizer:\n    adam: 0.1\nvars:\n  seed: {}\n",
        "train: {{steps: 5}}\nnote: |\n train:\n   x\n  seed: {}\n",
    ],
)
def test_another_seed_than_that_of_the_training_tells_specs_apart(tmp_path, text):
    runs = [written(tmp_path / str(seed), text.format(seed)) for seed in (3, 12)]
    assert len({likeness_of(run) for run in runs}) == 2
    assert spec_of_run(runs[0]) != spec_of_run(runs[1])
