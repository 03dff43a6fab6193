"""Cross-validation: each fold is held out once, and metrics are means over the folds with their intervals."""

import json
import re
import statistics

import numpy as np
import pytest
from commands import dlx as command
from scipy import stats

from dlx import spec as specs
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.experiment.folds import FoldMetric, parse_folds
from dlx.show import sweep as shown
from dlx.show import training_time
from dlx.sweeps import run as sweeps
from dlx.sweeps.events import Reported
from dlx.sweeps.folds import CrossValidation, document, plan_folds
from dlx.sweeps.study import Study
from dlx.sweeps.trial import Trial

SPEC = """\
dlx: 1
name: s
data: {arrays: {path: a.npz, valid: 0.25, test: 12, stratify: true, seed: 3}}
network: {layers: [{linear: 2}]}
train: {steps: 20, batch_size: 16, optimizer: {adam: {lr: 0.1}}}
track: {mlflow: false}
"""


@pytest.fixture
def spec(tmp_path):
    """Two classes that a line separates nearly, 100 examples."""
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    x = (rng.normal(size=(100, 2)) + 2.0 * y[:, None]).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


def validated(spec, *changes, folds=None, **how):
    made, _ = plan_folds(spec, changes, spec.parent / "runs", folds)
    return sweeps.run(made, sweeps.SweepOptions(), **how)


def test_many_folds_say_first_how_long_they_take(spec):
    def plan_of(folds, *changes):
        return plan_folds(spec, changes, spec.parent / "runs", folds)[0]

    said = training_time.of_folds(plan_of(88))
    assert re.fullmatch(
        r"88 folds take about \S+( s)? in turn, by the first steps of one; packed ones and `--jobs` make it less\.",
        said,
    )
    two = training_time.of_folds(plan_of(20, "train.seeds=2", "train.steps=2"))
    assert two.startswith("20 folds of 2 seeds each take about ")
    assert training_time.of_folds(plan_of(5)) == ""
    ran = command("crossval", "s.yaml", "train.steps=1", "--folds", "20", cwd=spec.parent)
    assert ran.returncode == 0
    before, opening = (ran.stderr.index(text) for text in ("20 folds take about", ": 20 trials of 20 points"))
    assert before < opening


def test_the_means_are_those_of_a_training_of_each_fold_alone(spec):
    found = document(validated(spec, folds=4))
    alone = []
    for fold in range(1, 5):
        own = ["~data.arrays.valid", "++data.arrays.folds=4", f"++data.arrays.fold={fold}"]
        alone.append(runner.run(specs.load(spec, own), spec.parent / "alone").metrics)

    assert [one["fold"] for one in found["folds"]] == [1, 2, 3, 4]
    for name in ("valid/error", "valid/loss", "test/loss", "train/loss"):
        values = [one[name] for one in alone]
        metric = found["metrics"][name]
        assert metric["folds"] == pytest.approx(values, rel=1e-5)
        assert metric["mean"] == pytest.approx(statistics.fmean(values), rel=1e-5)
        assert metric["standard_error"] == pytest.approx(stats.sem(values), rel=1e-4)
        low, high = stats.t.interval(0.95, 3, statistics.fmean(values), stats.sem(values))
        assert metric["interval95"] == pytest.approx((high - low) / 2, rel=1e-4)


def test_shuffled_labels_are_no_better_than_chance(spec):
    """The held-out fold tells what was learned: the same network on labels in another order learns nothing."""
    real = document(validated(spec, folds=4))["metrics"]["valid/error"]["mean"]
    arrays = dict(np.load(spec.parent / "a.npz"))
    np.savez(spec.parent / "a.npz", x=arrays["x"], y=np.random.default_rng(1).permutation(arrays["y"]))
    shuffled = document(validated(spec, "name=shuffled", folds=4))["metrics"]["valid/error"]["mean"]

    assert real < 0.2
    assert shuffled > 0.35


def test_several_seeds_of_a_fold_count_as_one_value(spec):
    found = document(validated(spec, "train.seeds=2", folds=3))

    assert [len(fold["runs"]) for fold in found["folds"]] == [2, 2, 2]
    assert len(found["metrics"]["valid/loss"]["folds"]) == 3


def test_the_parts_of_the_spec_give_way_and_the_test_part_stays(spec):
    made, note = plan_folds(spec, [], spec.parent / "runs")

    assert note == "`valid` 0.25 of the spec gives way to 5 folds"
    assert made.base.data.model_dump(exclude_defaults=True) | {"path": ""} == {
        "path": "",
        "test": 12,
        "stratify": True,
        "seed": 3,
        "folds": 5,
        "fold": 1,
    }


def test_leaving_one_out_has_a_fold_for_each_example(spec):
    made, _ = plan_folds(spec, ["data.arrays.test=90"], spec.parent / "runs", "leave_one_out")

    assert made.space.size == 10


def test_the_same_command_goes_on_where_it_was_cut_off(spec):
    def interrupt(event):
        if isinstance(event, Reported):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validated(spec, folds=3, callback=interrupt)
    begun = [trial for study in (spec.parent / "runs/s").glob("sweep-*") for trial in Study.open(study).trials]
    assert [trial.state for trial in begun].count("finished") == 1

    reported = []
    whole = validated(spec, folds=3, callback=lambda e: reported.append(e) if isinstance(e, Reported) else None)
    assert len(reported) == 2
    assert document(whole)["finished"] == 3


def test_a_fold_that_failed_is_left_out_of_the_mean():
    trials = [Trial(i, {"data.arrays.fold": i + 1}, 0, 6, 4) for i in range(3)]
    for trial, error in zip(trials, (0.1, 0.3, 0.9), strict=True):
        trial.state, trial.rungs = "finished", {20: {0: {"valid/error": error, "train/running_loss": 1.0}}}
    trials[2].state = "failed"
    study = Study.__new__(Study)
    study.trials = trials

    assert CrossValidation(study).metrics == [FoldMetric("valid/error", (0.1, 0.3))]


def test_figures_that_are_not_finite_have_no_interval():
    assert FoldMetric("valid/loss", (1.0, float("inf"))).interval95 is None
    assert FoldMetric("valid/loss", (1.0,)).standard_error is None


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            ["data.arrays.fold=1,2"],
            "each fold is held out in turn, and an override picks some",
            "Leave it out; `dlx train` trains a single fold.",
        ),
        (
            ["train.batch_size=8,16"],
            "`train.batch_size` varies, and a cross-validation is of one spec",
            "`dlx sweep` searches; `data.KIND.folds=5 data.KIND.fold=1,2,3,4,5` averages there over folds.",
        ),
        (
            ["data=mnist1d"],
            "`mnist1d` has parts of its own, and no examples to share out among folds",
            "Data with one pool of examples has `folds`: table, images, arrays, digits, cifar10, ...",
        ),
        (["~data"], "there is no data to share out among folds", "Add a section `data`, such as `data: digits`."),
    ],
)
def test_what_cannot_be_cross_validated_is_told(spec, changes, message, hint):
    with pytest.raises(DlxError) as refused:
        plan_folds(spec, changes, spec.parent / "runs")
    (problem,) = refused.value.problems
    assert (problem.message, problem.hint) == (message, hint)


@pytest.mark.parametrize("text", ["1", "0", "-2", "many", "2.5"])
def test_a_number_of_folds_that_is_none_is_told(text):
    with pytest.raises(DlxError, match=f"--folds takes a number from 2 on, or leave_one_out, not {text}"):
        parse_folds(text)


def test_more_folds_than_examples_are_told_with_both_numbers(spec):
    with pytest.raises(DlxError, match="`folds` 89 of 88 examples, which `test` 12 leaves: none may be empty"):
        validated(spec, folds=89)


def test_a_sweep_takes_the_folds_and_each_fold_from_the_command_line(spec):
    from dlx.sweeps.plan import plan

    changes = ["~data.arrays.valid", "data.arrays.folds=3", "data.arrays.fold=1,2,3", "train.steps=2,4"]
    made = plan(spec, changes, spec.parent / "runs")

    assert made.space.size == 6


def test_the_command_prints_the_mean_with_its_interval_and_a_document(spec, capsys):
    found = validated(spec, folds=3)
    shown.folds(found, as_json=False)
    heading, *rows = capsys.readouterr().out.splitlines()
    shown.folds(found, as_json=True)
    error = json.loads(capsys.readouterr().out)["metrics"]["valid/error"]

    assert heading.split() == ["metric", "mean", "±", "95", "%", "std.", "error", "folds", "1", "to", "3"]
    cells = next(row.split() for row in rows if row.startswith("valid/error"))
    assert cells[1:3] == [f"{error['mean']:.4g}", f"{error['interval95']:.2g}"]
    assert f"study   {found.study.folder}" in rows
