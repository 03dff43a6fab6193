"""The loop of a study: nothing twice, nothing lost, and every trial what it would be alone."""

import json
from itertools import count

import pytest
from studies import HALVING, RATE, WIDTH, journal, spec_in, starts, swept, weights

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.sweeps import run as sweeps
from dlx.sweeps import search
from dlx.sweeps.events import Reported, Suggested, TaskEnded
from dlx.sweeps.plan import plan
from dlx.sweeps.search import Search, next_of
from dlx.sweeps.study import Study, locked
from dlx.sweeps.study import spec_in as spec_of
from dlx.sweeps.trial import Trial
from dlx.sweeps.workers.base import Trainer


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def spec(tmp_path):
    return spec_in(tmp_path)


def message(caught) -> str:
    return caught.value.problems[0].message


def test_a_grid_is_tried_whole_and_its_best_is_found(spec, runs):
    found = swept(spec, runs, "train.optimizer.adam.lr=0.1,0.001", "train.batch_size=16,48")
    document = found.as_json()

    assert (document["ended"], document["trials"], document["finished"]) == ("finished", 4, 4)
    values = [t.value("valid/error") for t in found.study.trials]
    assert document["best"]["metrics"]["valid/error"] == min(values)
    assert document["best"]["number"] == values.index(min(values))
    points = {(t.point["train.batch_size"], t.point["train.optimizer.adam.lr"]) for t in found.study.trials}
    assert points == {(16, 0.1), (16, 0.001), (48, 0.1), (48, 0.001)}
    assert (
        load(document["best"]["run"] + "/spec.yaml").train.batch_size == document["best"]["point"]["train.batch_size"]
    )


def test_fewer_trials_than_were_asked_for_are_told_with_their_reason(spec, runs):
    found = swept(spec, runs, "train.optimizer.adam.lr=0.1,0.001", "train.epochs=1", trials=50)
    assert found.note == "after 2 of the 50 planned trials: the space has 2 points"
    assert swept(spec, runs, "train.optimizer.adam.lr=0.1,0.001", "train.epochs=1", trials=2).note == ""


def test_the_same_command_again_trains_nothing(spec, runs):
    first = swept(spec, runs, RATE, trials=3)
    keys = [key for t in first.study.trials for key in t.runs.values()]
    before = (journal(first), starts(runs, keys))
    again = swept(spec, runs, RATE, trials=3)

    assert (journal(again), starts(runs, keys)) == before
    assert again.study.folder == first.study.folder


def test_another_study_of_the_same_name_takes_what_was_trained(spec, runs):
    first = swept(spec, runs, "train.optimizer.adam.lr=0.1,0.01")
    second = swept(spec, runs, "train.optimizer.adam.lr=0.01,0.03")
    shared = [t for t in second.study.trials if t.point["train.optimizer.adam.lr"] == 0.01]

    assert first.study.folder != second.study.folder
    assert shared[0].runs == first.study.trials[1].runs
    assert starts(runs, list(shared[0].runs.values())) == 1
    assert shared[0].rungs == first.study.trials[1].rungs


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_study_that_is_extended_is_as_if_it_had_been_that_long(spec, runs, sampler):
    """From within a generation, from the end of one, and past several."""
    how = [RATE, WIDTH, f"++sweep.sampler={sampler}", "++sweep.generation=4", "train.epochs=1"]
    for trials in (2, 4, 11):
        extended = swept(spec, runs, *how, trials=trials)
    whole = swept(spec, runs / "whole", *how, trials=11)

    assert [t.point for t in extended.study.trials] == [t.point for t in whole.study.trials]
    assert [t.rungs for t in extended.study.trials] == [t.rungs for t in whole.study.trials]


def test_trials_that_go_from_rung_to_rung_end_as_if_they_had_not_stopped(spec, runs):
    found = swept(spec, runs, RATE, HALVING, "++sweep.sampler=random", "++sweep.generation=4", trials=4)
    counts = [len(t.rungs) for t in found.study.trials]
    best = found.study.best()

    assert sorted(counts) == [1, 1, 2, 4]
    assert list(best.rungs) == [3, 6, 12, 24]
    assert [t.state for t in found.study.trials if len(t.rungs) < 4] == ["stopped"] * 3
    run = runs / best.runs[0]
    alone = runner.run(load(run / "spec.yaml", ["++track.mlflow=false"]), runs / "alone").results[0]
    assert weights(run) == weights(alone.run.dir)
    last = [r["metrics"] for r in alone.run.records() if r["record"] == "step"][-1]
    assert best.rungs[24][0] == alone.metrics | {"train/running_loss": last["train/running_loss"]}


def test_the_best_of_a_study_is_trained_again_to_the_same_bits(spec, runs):
    found = swept(spec, runs, RATE, WIDTH, "++sweep.sampler=random", trials=3, pack=4)
    best = found.study.best()
    again = runner.run(load(spec_of(found.study.folder), ["++track.mlflow=false"]), runs).results[0]

    assert weights(again.run.dir) == weights(runs / best.runs[0])
    assert spec_of(runs / best.runs[0]) == runs / best.runs[0] / "spec.yaml"


def test_packed_trials_come_to_the_same_study(spec, runs):
    how = [RATE, HALVING, "++sweep.sampler=random"]
    alone = swept(spec, runs / "alone", *how, trials=8)
    packed = swept(spec, runs / "packed", *how, trials=8, pack=8)

    assert [t.state for t in packed.study.trials] == [t.state for t in alone.study.trials]
    for one, other in zip(packed.study.trials, alone.study.trials, strict=True):
        assert one.value("valid/loss") == pytest.approx(other.value("valid/loss"), rel=1e-4)


def test_a_trial_of_several_seeds_is_their_mean(spec, runs):
    found = swept(spec, runs, "train.optimizer.adam.lr=0.1,0.01", "++sweep.seeds=3", "train.epochs=1")
    for trial in found.study.trials:
        (text,) = trial.rungs.values()
        assert list(text) == [0, 1, 2]
        assert trial.value("valid/loss") == pytest.approx(sum(m["valid/loss"] for m in text.values()) / 3)
        assert [load(runs / key / "spec.yaml").train.seed for key in trial.runs.values()] == [0, 1, 2]


def test_a_trial_that_diverges_fails_and_the_study_goes_on(spec, runs):
    spec.write_text(spec.read_text().replace("adam: {lr: 0.01}", "sgd: {lr: 0.01}"))
    found = swept(spec, runs, "train.optimizer.sgd.lr=0.1,1e30")
    finished, failed = found.study.trials

    assert (finished.state, failed.state) == ("finished", "failed")
    assert "the loss is" in failed.message or "not finite" in failed.message
    assert found.exit_code == 0
    swept(spec, runs, "train.optimizer.sgd.lr=0.1,1e30")
    assert starts(runs, list(failed.runs.values())) == 1
    again = swept(spec, runs, "train.optimizer.sgd.lr=0.1,1e30", retry_failed=True)
    assert starts(runs, list(failed.runs.values())) == 2
    assert again.study.trials[1].message == failed.message


def test_a_choice_that_makes_no_network_is_refused_with_its_reason(spec, runs):
    found = swept(spec, runs, "network.layers.linear_1.out_features=4,0,5")

    assert [t.point["network.layers.linear_1.out_features"] for t in found.study.trials] == [4, 5]
    assert [t.number for t in found.study.trials] == [0, 1]
    (refused,) = found.study.refused
    assert "0" in refused.reason
    assert found.as_json()["refused"] == 1


def test_constraints_refuse_before_a_trial_costs_anything(spec, runs):
    found = swept(spec, runs, WIDTH, "++sweep.constraints=['params <= 100']", "train.epochs=1", trials=4)

    assert found.study.trials
    assert all(t.params <= 100 for t in found.study.trials)
    assert all(r.reason.startswith("params is ") for r in found.study.refused)


def test_constraints_that_nothing_meets_are_reported_with_the_nearest(spec, runs):
    with pytest.raises(DlxError) as refused:
        swept(spec, runs, WIDTH, "++sweep.constraints=['params <= 10']")

    assert message(refused) == "of 10 points none keeps to the constraints"
    assert refused.value.problems[0].hint == (
        "The nearest is network.layers.linear_1.out_features=2: params is 43, and at most 10 are allowed."
    )


@pytest.mark.parametrize(
    ("metric", "text", "hint"),
    [
        ("valid/eror", "no trial reports valid/eror", "Did you mean `valid/error`"),
        (
            "train/error ++sweep.scheduler=asha",
            "train/error is measured at the end, and the scheduler compares trials on the way",
            "Search for valid/error or train/running_loss, or leave out `scheduler`.",
        ),
        ("test/error", "test/error is measured on the test part, which a search must not look at", "`valid/`"),
    ],
)
def test_a_metric_that_no_trial_reports_is_reported(spec, runs, metric, text, hint):
    with pytest.raises(DlxError) as refused:
        swept(spec, runs, RATE, *f"++sweep.metric={metric}".split(), trials=2)
    assert message(refused) == text
    assert hint in refused.value.problems[0].hint


def test_a_metric_wants_held_out_data(tmp_path, runs):
    spec = spec_in(tmp_path, old="valid: 48", new="valid: 0")
    with pytest.raises(DlxError, match="no trial reports valid/error: the data has no `valid` part"):
        swept(spec, runs, RATE, trials=2)
    assert swept(spec, runs, RATE, "++sweep.metric=train/loss", trials=1).as_json()["finished"] == 1


def test_the_running_loss_is_compared_at_rungs_and_at_the_end(spec, runs):
    """The last point of the curve up to each rung; `train/loss` of the end is another figure."""
    found = swept(spec, runs, RATE, "++sweep.metric=train/running_loss", HALVING, trials=4)
    trials = found.study.trials
    assert {trial.state for trial in trials} == {"finished", "stopped"}
    for trial in trials:
        curve = {r["step"]: r["metrics"] for r in RunFolder(runs / trial.runs[0]).records() if r["record"] == "step"}
        for rung, text in trial.rungs.items():
            assert text[0]["train/running_loss"] == curve[rung]["train/running_loss"]
        ended = trial.rungs[max(trial.rungs)][0]
        assert ("train/loss" in ended) == (trial.state == "finished")


def test_a_scheduler_wants_something_to_compare_by(spec, runs):
    with pytest.raises(DlxError) as refused:
        swept(spec, runs, RATE, "++sweep.scheduler=asha", "train.epochs=1", trials=2)
    assert message(refused) == (
        "asha compares trials on the way, and there is no rung before the end: 3 steps of 3 an epoch"
    )
    with pytest.raises(DlxError) as refused:
        swept(spec, runs, RATE, "++sweep.scheduler=asha", "+train.evaluate_every=5", trials=2)
    assert message(refused) == "asha compares trials at step 3, and the first evaluation is at 5"
    assert "`train.evaluate_every: 3`" in refused.value.problems[0].hint


def test_an_ensemble_is_no_trial(spec, runs, monkeypatch):
    monkeypatch.setattr(search, "MAX_REFUSED", 104)  # thirteen times as many as are drawn at once
    with pytest.raises(DlxError) as refused:
        swept(spec, runs, RATE, "+train.ensemble=2", trials=2)
    assert message(refused) == "of 104 points none makes a network that can be trained"
    assert "train.ensemble: it trains an ensemble of 2, and a trial is one network" in refused.value.problems[0].hint


class Halts:
    """Says after so many questions that it is time."""

    def __init__(self, after: int) -> None:
        self.left = count(after, -1)

    def __call__(self) -> bool:
        return next(self.left) <= 0


@pytest.mark.parametrize("after", [0, 1, 3, 7, 20, 45, 90])
def test_wherever_it_is_stopped_it_goes_on_to_the_same_study(spec, runs, after):
    """Before the first suggestion, while one is drawn, in the middle of a training, between two rungs."""
    how = [RATE, HALVING, "++sweep.sampler=tpe", "++sweep.generation=4", "+train.log_every=1"]
    made = plan(spec, how, runs, 6)
    home = Trainer()
    with locked(made.folder):
        study = Study.begin(made.folder, made.identity)
        ended = Search(made, study, home, home, should_stop=Halts(after)).run()
        study.close()
    text = next_of(made, study)
    whole = swept(spec, runs / "whole", *how, trials=6)

    assert not ended
    assert "suggest" in text or "go on with trial" in text
    assert journal(swept(spec, runs, *how, trials=6)) == journal(whole)


def test_a_budget_stops_it_and_says_what_comes_next(spec, runs):
    clock = sweeps.SweepOptions(budget=0)
    found = sweeps.run(plan(spec, [RATE], runs, 5), clock)

    assert (found.reason, found.next, found.exit_code) == ("budget", "suggest 5 trials", 0)
    assert swept(spec, runs, RATE, trials=5).as_json()["finished"] == 5


@pytest.mark.parametrize("text", ["", "soon", "0s", "5"])
def test_a_budget_is_a_time(text):
    with pytest.raises(DlxError, match=f"--budget takes a time, not {text}"):
        sweeps.parse_budget(text)
    assert sweeps.parse_budget("1h30m") == 5400


def test_packing_is_a_word_or_a_number():
    assert (sweeps.parse_pack("off"), sweeps.parse_pack("5")) == (1, 5)
    assert sweeps.parse_pack("auto") > 1
    with pytest.raises(DlxError, match="--pack takes auto, off or how many, not many"):
        sweeps.parse_pack("many")


def test_a_population_takes_over_weights_and_goes_on_with_its_own_rate(spec, runs):
    how = [RATE, "++sweep.scheduler={population:{share:0.5,every:2}}", "++sweep.sampler=random"]
    found = swept(spec, runs / "a", *how, "++sweep.generation=4", trials=4)
    again = swept(spec, runs / "b", *how, "++sweep.generation=4", trials=4)
    took = [t for t in found.study.trials if t.inherited_from]

    assert journal(found) == journal(again)
    assert took
    for trial in took:
        lines = (runs / "a" / trial.runs[0] / "metrics.jsonl").read_text().splitlines()
        steps = [record for record in map(json.loads, lines) if record["record"] == "step"]
        assert {record["metrics"]["lr"] for record in steps} == {trial.point["train.optimizer.adam.lr"]}
        assert steps[0]["step"] == max(trial.inherited_from) + 1


def test_a_callback_receives_every_trial(spec, runs):
    received = []
    swept(spec, runs, RATE, trials=3, callback=received.append)

    assert sum(isinstance(e, TaskEnded) for e in received) == 3
    assert [e.trial.number for e in received if isinstance(e, Reported)] == [0, 1, 2]
    assert [len(e.trials) for e in received if isinstance(e, Suggested)] == [3]


def test_names_that_a_study_may_have(spec, runs):
    swept(spec, runs, RATE, trials=1, study="mine")
    with pytest.raises(DlxError, match=r"is the study of another spec: `train.epochs` is 3, and there 8"):
        swept(spec, runs, RATE, "train.epochs=3", trials=1, study="mine")


def test_a_study_whose_data_has_changed_is_not_gone_on_with(tmp_path, runs):
    table = tmp_path / "t.csv"
    rows = [f"{i % 7},{i % 3},{i % 2}\n" for i in range(60)]
    table.write_text("a,b,y\n" + "".join(rows))
    data = "{table: {path: t.csv, target: y, valid: 0.3}}"
    spec = spec_in(
        tmp_path, old="{synthetic: {shape: [1, 4, 4], classes: 3, train: 96, valid: 48, test: 24}}", new=data
    )
    spec.write_text(spec.read_text().replace("linear: 3\n", "linear: 1\n"))
    how = [RATE, "++sweep.metric=valid/loss", "train.epochs=1"]
    swept(spec, runs, *how, trials=2)
    table.write_text("a,b,y\n" + "".join(reversed(rows)))

    with pytest.raises(DlxError, match=r"has changed: its digest was [0-9a-f]{12}, and is [0-9a-f]{12}"):
        swept(spec, runs, *how, trials=3)


def test_a_brief_training_does_not_wait_for_the_disk(spec, runs, monkeypatch):
    import os

    waits = []
    monkeypatch.setattr(os, "fsync", waits.append)
    swept(spec, runs, RATE, trials=6)
    assert len(waits) < 6  # those of the journal


DEEP = "    - relu\n    - linear: 6\n    - relu\n    - linear: 6\n    - relu\n"


def test_layers_that_vary_are_those_of_the_spec_as_written_in_every_trial(tmp_path):
    """A trial that makes the first relu something else leaves the second one its name."""
    path, runs = spec_in(tmp_path, old="    - relu\n", new=DEEP), tmp_path / "runs"
    keys = ["network.layers.relu_1", "network.layers.relu_2"]
    changes = [f"{keys[1]}=relu,tanh", f"{keys[0]}=identity,relu,tanh", "train.epochs=1"]
    made = plan(path, [*changes, "++sweep.constraints=['macs <= 1_000']"], runs)
    found = sweeps.run(made, sweeps.SweepOptions())

    assert len(found.study.trials) == 6
    for trial in found.study.trials:
        (key,) = trial.runs.values()
        expected = [trial.point[keys[0]], trial.point[keys[1]], "relu"]
        for graph in (made.planner.examine(trial.point).graphs.one, trace(load(runs / key / "spec.yaml"))):
            assert [node.kind for node in graph.nodes if node.kind not in ("linear", "flatten")] == expected
    assert len({key for trial in found.study.trials for key in trial.runs.values()}) == 6
    best = load(spec_of(found.study.folder))
    assert trace(best).params == found.study.best().params


@pytest.mark.parametrize("sampler", ["evolution", "random", "hill_climbing"])
def test_every_point_of_a_search_over_layers_means_the_same_layers(tmp_path, sampler):
    path = spec_in(tmp_path, old="    - relu\n", new=DEEP)
    keys = [f"network.layers.relu_{i}" for i in (1, 2, 3)]
    changes = [f"{key}=identity,relu,tanh" for key in keys]
    made = plan(path, [*changes, f"++sweep.sampler={sampler}"], tmp_path, trials=20)
    history = [Trial(0, dict.fromkeys(keys, "relu"), 0, 1, 1, "finished", rungs={1: {0: {"valid/error": 0.5}}})]
    for point in made.sampler.ask(made.space, history * 30, 12, 0, made.metrics, made.rising):
        kinds = [node.kind for node in made.planner.examine(point).graphs.one.nodes]
        assert [kind for kind in kinds if kind not in ("linear", "flatten")] == [point[key] for key in keys]
