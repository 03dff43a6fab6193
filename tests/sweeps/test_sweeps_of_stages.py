"""Searches over a spec with stages: each trial goes through all of them, and is what it would be alone."""

from itertools import count

import pytest
from studies import journal, swept, weights

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.sweeps.plan import plan
from dlx.sweeps.search import Search
from dlx.sweeps.study import Study, locked
from dlx.sweeps.workers.base import Trainer

SPEC = """\
dlx: 1
name: s
data: {digits: {train: 60, valid: 30, test: 30}}
blocks: {body: {layers: [flatten, {linear: 8}, relu, {dropout: 0.2}]}}
network: {layers: [{body: , name: trunk}, {linear: 10, name: head}]}
train: {batch_size: 16, epochs: 2, log_every: 1, save_every: 2, optimizer: {adam: {lr: 1e-2}}}
track: {mlflow: false}
stages:
  - {name: pretrain, train: {steps: 6}}
  - {name: tune, freeze: [{match: trunk, until: {step: 2}}], train: {epochs: 1}}
"""
STEPS = "stages.pretrain.train.steps=6,2"


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return path


def test_a_key_of_a_stage_or_of_the_whole_is_searched_over(spec, tmp_path):
    found = swept(spec, tmp_path / "runs", STEPS, "train.seeds=2")
    ended = [RunFolder(tmp_path / "runs" / key) for trial in found.study.trials for key in trial.runs.values()]
    assert sorted(run.end()["step"] for run in ended) == [2 + 4] * 2 + [6 + 4] * 2
    assert all(set(run.read_json("plan.json")["stages"]) == {"pretrain", "tune"} for run in ended)
    assert len({weights(run.dir) for run in ended}) == 4
    best = found.as_json()["best"]
    again = load(f"{best['run']}/spec.yaml")
    assert [stage.name for stage in again.stages] == ["pretrain", "tune"]
    (result,) = runner.run(again, tmp_path / "again", like=RunFolder(best["run"])).results
    assert weights(result.run.dir) == weights(best["run"])


def test_a_search_in_the_spec_is_that_of_the_whole(spec, tmp_path):
    spec.write_text(SPEC + "sweep: {space: {stages.tune.train.epochs: [1, 2]}}\n")
    found = swept(spec, tmp_path / "runs")
    assert [trial.point for trial in found.study.trials] == [{"stages.tune.train.epochs": n} for n in (1, 2)]
    spec.write_text(SPEC + "sweep: {space: {stages.tunes.train.epochs: [1, 2]}}\n")
    with pytest.raises(SpecError, match="there is no stage `tunes` to override"):
        plan(spec, [], tmp_path / "runs")
    spec.write_text(SPEC + "sweep: {trails: 3, space: {train.epochs: [1, 2]}}\n")
    with pytest.raises(SpecError, match="`sweep` has no field `trails`"):
        plan(spec, [], tmp_path / "runs")


class Halts:
    """Says after so many questions that it is time."""

    def __init__(self, after):
        self.left = count(after, -1)

    def __call__(self):
        return next(self.left) <= 0


@pytest.mark.parametrize(("after", "stage"), [(5, "pretrain"), (11, "tune")])
def test_stopped_in_a_stage_it_goes_on_to_the_same_bits(spec, tmp_path, after, stage):
    made, home = plan(spec, [STEPS], tmp_path / "runs"), Trainer()
    with locked(made.folder):
        study = Study.begin(made.folder, made.identity)
        assert not Search(made, study, home, home, should_stop=Halts(after)).run()
        study.close()
    (run,) = [one for one in map(RunFolder, (tmp_path / "runs" / "s").glob("trial-*")) if one.end() is not None]
    assert run.end()["status"] == "stopped"
    assert [one["stage"] for one in run.records() if "stage" in one][-1] == stage
    whole, cut = swept(spec, tmp_path / "whole", STEPS), swept(spec, tmp_path / "runs", STEPS)
    assert journal(cut) == journal(whole)
    for trial in whole.study.trials:
        for key in trial.runs.values():
            assert weights(tmp_path / "runs" / key) == weights(tmp_path / "whole" / key)


def test_what_would_compare_stages_with_each_other_is_refused(spec, tmp_path):
    with pytest.raises(SpecError, match="asha compares trials on the way, and the spec has `stages`"):
        plan(spec, [STEPS, "+sweep={scheduler: asha}"], tmp_path / "runs")


def test_a_point_that_fits_no_stage_is_refused_with_its_sentence(spec, tmp_path):
    found = swept(spec, tmp_path / "runs", "stages.pretrain.freeze=[],[trunk,head]")
    assert len(found.study.trials) == 1
    assert "there is nothing to train" in found.study.refused[0].reason


def test_folds_are_held_out_in_every_stage(spec, tmp_path):
    from dlx.sweeps import run as sweeps
    from dlx.sweeps.folds import CrossValidation, plan_folds

    made, note = plan_folds(spec, [], tmp_path / "runs", 3)
    assert "`valid` 30" in note
    found = CrossValidation(sweeps.run(made, sweeps.SweepOptions()).study)
    assert [trial.state for trial in found.trials] == ["finished"] * 3
    for number, trial in enumerate(found.trials, 1):
        (key,) = trial.runs.values()
        experiment = load(tmp_path / "runs" / key / "spec.yaml")
        assert [stage.experiment.data.fold for stage in experiment.stages] == [number, number]
