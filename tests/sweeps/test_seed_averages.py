"""Folds and seeds that vary are averaged, with an interval, and none of them is chosen."""

import json
import statistics

import pytest
from studies import RATE, swept

import dlx
from dlx.cli.options import sampler, source
from dlx.errors import DlxError, SpecError
from dlx.show.leaderboard import leaderboard
from dlx.show.sweep import ending
from dlx.spec import load
from dlx.sweeps import figures
from dlx.sweeps.run import draw_figures
from dlx.sweeps.seed_averages import averaged, is_replicate
from dlx.sweeps.study import spec_in
from dlx.sweeps.trial import Trial
from dlx.utils.intervals import student_t_quantile

SPEC = """\
dlx: 1
name: s
data: {digits: {folds: 3, fold: 1, test: 0.5}}
network: {layers: [flatten, {linear: 10}]}
train: {steps: 12, batch_size: 32, optimizer: {adam: {lr: 0.01}}}
track: {mlflow: false}
"""
FOLDS = "data.digits.fold=1,2,3"


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        *(("data.digits.fold", True), ("data.digits.seed", True), ("train.seed", True)),
        *(("data.digits.folds", False), ("train.seeds", False), ("network.layers.fold.seed", False)),
    ],
)
def test_which_keys_are_draws(key, wanted):
    assert is_replicate(key) is wanted


def test_a_variable_that_is_a_fold_and_nothing_else_is_not_searched(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text(SPEC.replace("fold: 1,", 'fold: "${k}",').replace("name: s", "name: s\nvars: {k: 1}"))
    with pytest.raises(DlxError) as refused:
        swept(spec, tmp_path / "runs", "vars.k=1,2,3")
    (problem,) = refused.value.problems
    assert problem.message == "`vars.k` is given to `data.digits.fold` alone, and its best value would be chosen"
    assert problem.hint == "Vary `data.digits.fold` itself: it is averaged over."

    spec.write_text(spec.read_text().replace("steps: 12", 'steps: "${12 * k}"'))
    assert len(swept(spec, tmp_path / "runs", "vars.k=1,2").study.trials) == 2


def test_a_seed_that_varies_beside_several_seeds_of_each_point_is_refused(spec, tmp_path):
    """They would share trainings, and a training would count twice in a mean."""
    with pytest.raises(DlxError) as refused:
        swept(spec, tmp_path / "runs", "train.seed=0,1", "train.seeds=2")
    (problem,) = refused.value.problems
    assert problem.message == "`train.seed` varies, and `seeds` asks for 2 of each point: both say which seeds"


def test_folds_alone_have_a_mean_and_an_interval_and_no_best(spec, tmp_path, capsys):
    found = swept(spec, tmp_path / "runs", FOLDS)
    document = found.as_json()
    errors = [trial.value("valid/error") for trial in found.study.trials]
    half = student_t_quantile(2) * statistics.stdev(errors) / 3**0.5
    (row,) = document["leaderboard"]
    assert (document["best"], document["averaged_over"]) == (None, ["data.digits.fold"])
    assert (row["mean"], row["interval95"]) == pytest.approx((statistics.fmean(errors), half))
    assert (row["seeds"], row["point"], len(set(errors)) > 1) == (3, {}, True)

    ending(found, as_json=False)
    output = capsys.readouterr().out
    assert "each figure is a mean over data.digits.fold, of which none is chosen" in output
    assert f"{statistics.fmean(errors):.4g}" in output
    assert f"{half:.2g}" in output
    assert "best" not in output
    with pytest.raises(DlxError, match=r"only data.digits.fold vary, and none of them is the best") as refused:
        spec_in(found.study.folder)
    assert found.study.trials[0].runs[0] in refused.value.problems[0].hint
    assert figures.of_study(found.study) == []


def test_points_are_ranked_by_their_means_over_folds(spec, tmp_path, capsys):
    found = swept(spec, tmp_path / "runs", "train.optimizer.adam.lr=1e-5,1e-2", FOLDS)
    by_rate = {}
    for trial in found.study.trials:
        by_rate.setdefault(trial.point["train.optimizer.adam.lr"], []).append(trial.value("valid/error"))
    document = found.as_json()
    first, second = document["leaderboard"]
    for row in (first, second):
        errors = by_rate[row["point"]["train.optimizer.adam.lr"]]
        assert row["mean"] == pytest.approx(statistics.fmean(errors))
    differences = [b - a for a, b in zip(by_rate[1e-2], by_rate[1e-5], strict=True)]
    assert second["behind"]["mean"] == pytest.approx(statistics.fmean(differences))
    assert second["behind"]["interval95"] == pytest.approx(
        student_t_quantile(2) * statistics.stdev(differences) / 3**0.5
    )
    assert document["best"]["point"] == {"train.optimizer.adam.lr": 1e-2}
    assert document["best"]["metrics"]["valid/error"] == pytest.approx(statistics.fmean(by_rate[1e-2]))
    assert len(document["best"]["runs"]) == 3

    leaderboard(found.study)
    ending(found, as_json=False)
    assert "best    lr 0.01" in capsys.readouterr().out
    assert json.dumps(document)
    draw_figures(found)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            [FOLDS, "++sweep.sampler=tpe"],
            "`data.digits.fold` is averaged over, and tpe would look for its best value",
        ),
        ([RATE, "train.seed=0,1"], "`train.seed` is averaged over, and tpe would look for its best value"),
        (
            [FOLDS, "++sweep.scheduler={successive_halving:{reduction_factor:2}}"],
            "`data.digits.fold` is averaged over, and successive_halving would end its worse values early",
        ),
    ],
)
def test_what_would_choose_among_them_is_refused(spec, tmp_path, more, message):
    with pytest.raises(DlxError) as refused:
        swept(spec, tmp_path / "runs", *more)
    assert refused.value.problems[0].message == message


def test_what_a_sampler_cannot_take_is_told_at_the_option_that_names_it(spec, tmp_path):
    with pytest.raises(DlxError) as refused:
        swept(spec, tmp_path / "runs", FOLDS, *sampler("cma_es"))
    (problem,) = refused.value.problems
    assert str(problem.mark) == "option `--sampler cma_es`"
    assert problem.message == "`data.digits.fold` is averaged over, and cma_es would look for its best value"
    told = [str(problem.mark) for problem in load(spec, [*source(""), *sampler("cmaes")]).problems]
    assert told == ["option `--init-from `", "option `--sampler cmaes`"]
    with pytest.raises(SpecError) as refused:
        dlx.sweep(spec, [FOLDS], sampler="cmaes", runs=tmp_path / "runs")
    assert str(refused.value.problems[0].mark) == "argument `sampler='cmaes'`"


def test_draws_that_failed_are_left_out():
    done = {5: {0: {"valid/error": 0.25}}}
    trials = [
        Trial(0, {"a": 1, "train.seed": 0}, 0, 9, 9, "finished", {0: "s/0"}, done),
        Trial(1, {"a": 1, "train.seed": 1}, 0, 9, 9, "failed", {1: "s/1"}),
        Trial(2, {"a": 2, "train.seed": 0}, 0, 9, 9, "failed", {0: "s/2"}),
    ]
    one, other = averaged(trials)
    assert (one.state, one.point, one.value("valid/error"), list(one.runs.values())) == (
        *("finished", {"a": 1}, 0.25),
        ["s/0"],
    )
    assert (other.state, other.number) == ("failed", 2)
