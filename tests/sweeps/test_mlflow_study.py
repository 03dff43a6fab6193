"""A study in MLflow: the SQLite store, read back by MLflow's own client."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest
from killed import killed_behind

from dlx.runs.folder import RunFolder, alive
from dlx.show.sweep import delivered
from dlx.sweeps import mlflow_study
from dlx.sweeps.events import SweepResult
from dlx.sweeps.mlflow_study import StudyDelivery
from dlx.sweeps.run import finish
from dlx.sweeps.study import Study
from dlx.sweeps.trial import Refused, Trial
from dlx.track import Mirror, store

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
]

SPEC = """
dlx: 1
name: digits
network: {inputs: {image: [1, 8, 8]}, layers: [flatten, {linear: 10}]}
"""
IDENTITY = {
    "metrics": ["valid/error"],
    "rising": [False],
    "sampler": {"grid": {}},
    "space": {"lr": {"low": 0.001, "high": 0.1, "log": True}, "width": {"choice": [4, 8]}},
}
BEGAN = 1_790_000_000.25


def train(study, key, until, end=None, first=1, shift=0.0):
    """A run's records up to a step, an evaluation at each tenth."""
    run = RunFolder(study.runs / key)
    run.dir.mkdir(parents=True, exist_ok=True)
    run.write_text("spec.yaml", SPEC)
    run.append({"record": "start", "time": BEGAN})
    for n in range(first, until + 1):
        run.append({"record": "step", "time": BEGAN + n, "step": n, "metrics": {"train/running_loss": 1 / n + shift}})
        if n % 10 == 0:
            metrics = {"valid/error": 2 / n + shift}
            run.append({"record": "evaluation", "time": BEGAN + n + 0.5, "step": n, "metrics": metrics})
    if end:
        about = {"status": end, "step": until, "seconds": 2.0, "metrics": {"valid/error": 2 / until + shift}}
        run.append({"record": "end", "time": BEGAN + until + 1, **about})
    run.close()


def suggest(study, generation, *points, seeds=1):
    first = len(study.trials)
    trials = [
        Trial(first + i, p, generation, 100 + i, 50, runs={s: f"digits/trial-{first + i}-{s}" for s in range(seeds)})
        for i, p in enumerate(points)
    ]
    study.record_generation(generation, trials, [Refused({"lr": 9}, "it is too large")])


def advance(study, number, step, state, shifts=(0.0,), first=1):
    """A trial at a rung, its runs too."""
    trial = study.trials[number]
    for (_, key), shift in zip(trial.runs.items(), shifts, strict=True):
        train(study, key, step, {"finished": "finished"}.get(state), first, shift)
    metrics = {seed: {"valid/error": 2 / step + shift} for seed, shift in enumerate(shifts)}
    study.record_progress(trial, step, metrics, dict.fromkeys(metrics, step), 1.5, state)


@pytest.fixture
def study(tmp_path, empty_store):
    made = Study.begin(_folder(tmp_path / "runs" / "digits" / "sweep-0123abcd"), IDENTITY)
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    yield made
    made.close()


def _folder(path):
    path.mkdir(parents=True)
    return path


class Reader:
    """What MLflow has of a study."""

    def __init__(self, study):
        from mlflow import MlflowClient

        self.client = MlflowClient(f"sqlite:///{study.runs}/mlflow.db")
        self.experiment_id = self.client.get_experiment_by_name("digits").experiment_id
        runs = list(self.client.search_runs([self.experiment_id]))
        (self.parent,) = [run for run in runs if run.data.tags.get("dlx.kind") == "study"]
        self.trials = {
            int(run.data.tags["dlx.trial"]): run
            for run in runs
            if run.data.tags.get("mlflow.parentRunId") == self.parent.info.run_id
        }
        assert len(runs) == 1 + len(self.trials)

    def curve(self, number, name):
        run = self.parent if number is None else self.trials[number]
        return [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, name)]


def test_a_cross_validation_has_its_means_at_the_parent(study):
    suggest(study, 0, *({"data.digits.fold": fold} for fold in (1, 2)))
    advance(study, 0, 20, "finished")
    advance(study, 1, 20, "finished", shifts=(0.2,))

    assert StudyDelivery(study.folder).sync().complete

    found = Reader(study)
    # both can begin in one millisecond, by which MLflow sorts them
    assert sorted(run.info.run_name for run in found.trials.values()) == ["fold 1", "fold 2"]
    assert found.parent.info.run_name == "2 folds, sweep-0123abcd"
    assert found.curve(None, "valid/error") == [(20, pytest.approx(0.2))]  # of 0.1 and 0.3
    assert found.curve(None, "valid/error/standard_error") == [(20, pytest.approx(0.1))]
    assert found.curve(None, "valid/error/interval95") == [(20, pytest.approx(1.2706, rel=1e-4))]  # t = 12.706
    assert StudyDelivery(study.folder).sync().sent == 0
    assert len(Reader(study).curve(None, "valid/error")) == 1


def test_the_study_is_a_parent_and_its_trials_are_children_with_what_varies(study):
    suggest(study, 0, {"lr": 0.01, "width": 4}, {"lr": 0.1, "width": 8})
    advance(study, 0, 20, "finished")
    advance(study, 1, 10, "waiting")
    study.record_stopped(10, [1])

    result = StudyDelivery(study.folder).sync()

    found = Reader(study)
    assert (result.complete, result.sent) == (True, 2), result.error
    assert found.parent.data.params == {
        "sweep.metrics": '["valid/error"]',
        "sweep.sampler": '{"grid": {}}',
        "sweep.space.lr": '{"low": 0.001, "high": 0.1, "log": true}',
        "sweep.space.width": '{"choice": [4, 8]}',
    }
    assert found.trials[0].data.params == {"lr": "0.01", "width": "4"}
    assert {n: run.info.status for n, run in found.trials.items()} == {0: "FINISHED", 1: "KILLED"}
    assert found.trials[0].info.run_name == "trial 0: lr=0.01, width=4"
    assert found.parent.info.run_name == "lr, width, sweep-0123abcd"
    assert found.trials[1].data.tags["dlx.run"] == "digits/trial-1-0"
    assert found.trials[1].data.metrics["params"] == 101
    best = found.client.search_runs([found.experiment_id], "params.width = '4' and metrics.`valid/error` < 0.2")
    assert [run.data.tags["dlx.trial"] for run in best] == ["0"]


def test_the_curves_arrive_by_step(study):
    suggest(study, 0, {"lr": 0.01})
    advance(study, 0, 20, "finished")
    StudyDelivery(study.folder).sync()

    found = Reader(study)
    assert found.curve(0, "train/running_loss") == [(n, pytest.approx(1 / n)) for n in range(1, 21)]
    assert found.curve(0, "valid/error") == [(10, 0.2), (20, 0.1)]
    assert found.curve(0, "seconds") == [(20, 1.5)]


def test_a_trial_of_several_seeds_is_one_child_with_their_means(study):
    suggest(study, 0, {"lr": 0.01}, seeds=3)
    advance(study, 0, 20, "finished", (-0.01, 0.0, 0.01))
    StudyDelivery(study.folder).sync()

    found = Reader(study)
    assert found.curve(0, "valid/error") == [(10, pytest.approx(0.2)), (20, pytest.approx(0.1))]
    assert found.curve(0, "valid/error/interval95") == [(20, pytest.approx(4.302653 * 0.01 / 3**0.5))]
    assert found.trials[0].data.tags["dlx.runs"] == "digits/trial-0-0 digits/trial-0-1 digits/trial-0-2"


def test_what_comes_later_is_added_and_nothing_is_sent_twice(study):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    tracking = StudyDelivery(study.folder)
    tracking.sync(final=False)
    assert Counter(run.info.status for run in Reader(study).trials.values()) == {"RUNNING": 2}

    advance(study, 0, 10, "waiting")
    tracking.sync(final=False)
    assert len(Reader(study).curve(0, "train/running_loss")) == 10

    advance(study, 0, 20, "finished", first=11)
    advance(study, 1, 20, "finished")
    assert tracking.sync().sent == 2
    assert tracking.sync().sent == 0
    assert StudyDelivery(study.folder).sync().sent == 0
    found = Reader(study)
    assert [step for step, _ in found.curve(0, "train/running_loss")] == list(range(1, 21))
    assert found.parent.info.status == "FINISHED"


@pytest.mark.parametrize("lost", ["mlflow.json", "half of it"])
def test_a_mirror_that_forgot_how_far_it_was_asks_mlflow(study, lost):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    advance(study, 0, 20, "finished")
    StudyDelivery(study.folder).sync(final=False)
    path = study.folder / "mlflow.json"
    if lost == "mlflow.json":
        path.unlink()
    else:
        path.write_text(path.read_text()[:99])
    advance(study, 1, 20, "finished")

    assert StudyDelivery(study.folder).sync().complete
    found = Reader(study)
    assert sorted(found.trials) == [0, 1]
    assert found.curve(0, "valid/error") == [(10, 0.2), (20, 0.1)]
    assert len(found.curve(0, "train/running_loss")) == 20


def test_a_batch_whose_arrival_was_not_noted_is_not_there_twice(study):
    suggest(study, 0, {"lr": 0.01})
    tracking = StudyDelivery(study.folder)
    tracking.sync(final=False)
    before = (study.folder / "mlflow.json").read_text()
    advance(study, 0, 20, "finished")
    tracking.sync(final=False)
    (study.folder / "mlflow.json").write_text(before)

    StudyDelivery(study.folder).sync()

    assert len(Reader(study).curve(0, "train/running_loss")) == 20


def test_the_best_trial_is_marked_and_the_mark_moves(study):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    tracking = StudyDelivery(study.folder)
    advance(study, 0, 10, "finished")
    tracking.sync(final=False)
    assert Reader(study).trials[0].data.tags["dlx.best"] == "true"

    advance(study, 1, 20, "finished")
    tracking.sync()
    found = Reader(study)
    assert {n: run.data.tags.get("dlx.best") for n, run in found.trials.items()} == {0: "false", 1: "true"}
    assert found.parent.data.tags["dlx.best_trial"] == "1"
    assert found.parent.data.tags["dlx.best_run"] == "digits/trial-1-0"
    assert found.curve(None, "best/valid/error") == [(0, 0.2), (1, 0.1)]


def test_a_trial_that_failed_says_why(study):
    suggest(study, 0, {"lr": 0.01})
    study.record_progress(study.trials[0], 0, {}, {}, 0.1, "failed", "the loss became nan at step 3")
    StudyDelivery(study.folder).sync()

    (run,) = Reader(study).trials.values()
    assert (run.info.status, run.data.tags["dlx.message"]) == ("FAILED", "the loss became nan at step 3")


def test_a_point_that_moved_on_the_way_is_reported(study):
    suggest(study, 0, {"lr": 0.01})
    advance(study, 0, 10, "waiting")
    tracking = StudyDelivery(study.folder)
    tracking.sync(final=False)
    study.record_exploited(10, {0: {"point": {"lr": 0.012}, "runs": {"0": "digits/trial-0-moved"}, "from": 0}})
    advance(study, 0, 20, "finished", first=11)
    tracking.sync()

    found = Reader(study)
    assert found.trials[0].data.params == {"lr": "0.01"}
    assert found.trials[0].data.tags["dlx.point"] == '{"lr": 0.012}'
    assert [step for step, _ in found.curve(0, "train/running_loss")] == list(range(1, 21))


def test_only_the_best_has_a_model_and_the_figures_are_with_the_study(study):
    import torch

    from dlx.graph import trace
    from dlx.network import build
    from dlx.spec import load
    from dlx.training.checkpoints import checkpoint

    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    for number, step in ((0, 10), (1, 20)):
        advance(study, number, step, "finished")
        folder = study.runs / study.trials[number].runs[0]
        torch.manual_seed(number)
        network = build(trace(load(folder / "spec.yaml"))).eval()
        (folder / "checkpoints").mkdir()
        checkpoint.save(folder / "checkpoints", "final", network, {"step": step})
    _folder(study.folder / "artifacts" / "figures").joinpath("history.png").write_bytes(b"a picture")

    result = StudyDelivery(study.folder).sync()
    assert result.complete, result.error
    assert StudyDelivery(study.folder).sync().complete

    found = Reader(study)
    (model,) = found.client.search_logged_models([found.experiment_id])
    assert (model.source_run_id, model.status) == (found.trials[1].info.run_id, "READY")
    files = [file.path for file in found.client.list_artifacts(found.parent.info.run_id)]
    assert sorted(files) == ["figures", "study.jsonl"]


def test_a_study_that_goes_on_is_running_again(study):
    suggest(study, 0, {"lr": 0.01})
    StudyDelivery(study.folder).sync()
    assert Reader(study).parent.info.status == "KILLED"

    StudyDelivery(study.folder).sync(final=False)
    assert Reader(study).parent.info.status == "RUNNING"

    advance(study, 0, 10, "finished")
    StudyDelivery(study.folder).sync()
    assert Reader(study).parent.info.status == "FINISHED"


def test_a_store_that_cannot_be_had_is_reported_and_a_later_try_delivers(study):
    suggest(study, 0, {"lr": 0.01})
    advance(study, 0, 10, "finished")

    result = StudyDelivery(study.folder, "http://127.0.0.1:9").sync()
    assert not result.complete
    assert result.error == (
        "MLflow at http://127.0.0.1:9 cannot be reached; `dlx runs sync` delivers the rest once it can"
    )
    assert StudyDelivery(study.folder, f"sqlite:///{study.runs}/mlflow.db").sync().complete


def test_a_corrupt_journal_is_reported(study):
    suggest(study, 0, {"lr": 0.01})
    study.close()
    journal = study.folder / "study.jsonl"
    journal.write_text(f"nonsense\n{journal.read_text()}")

    result = StudyDelivery(study.folder).sync()
    assert not result.complete
    assert "line 1 of" in result.error


def test_one_process_follows_the_whole_study_and_ends_with_the_sweep(study, copied_mirrors):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    mirror = mlflow_study.start(study.folder)
    advance(study, 0, 10, "finished")
    advance(study, 1, 10, "finished")

    assert mirror.finish(timeout=300) == "delivered", (study.folder / "mlflow.log").read_text()
    assert {n: run.info.status for n, run in Reader(study).trials.items()} == {0: "FINISHED", 1: "FINISHED"}


def test_the_mirror_ends_by_itself_where_the_sweep_was_killed(study):
    suggest(study, 0, {"lr": 0.01})
    advance(study, 0, 10, "finished")
    code = (
        "import sys, os; from pathlib import Path; from dlx.sweeps import mlflow_study\n"
        "m = mlflow_study.start(Path(sys.argv[1])); print(m.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run([sys.executable, "-c", code, study.folder], capture_output=True, text=True)
    pid = int(result.stdout)
    until = time.monotonic() + 300
    while time.monotonic() < until and alive(pid):
        time.sleep(0.1)

    assert Reader(study).trials[0].info.status == "FINISHED"


def test_nobody_waits_for_mlflow_at_the_end_of_a_sweep(study, monkeypatch, capsys):
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        mirror = Mirror(RunFolder(study.folder), process)
        monkeypatch.setattr(Mirror, "close_input", lambda _: None)
        found = finish(SweepResult(study, "finished", 1.0, mirror=mirror))
        process.kill()
    assert found.as_json()["tracking"] == "behind"
    delivered(found, f"sqlite:///{study.runs.absolute()}/mlflow.db")
    assert f"`dlx runs sync --wait {study.folder}` waits for it, then `dlx ui " in capsys.readouterr().out


def test_a_mirror_that_cannot_start_does_not_disturb(study, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert mlflow_study.start(study.folder).finish(1).startswith("failed: the mirror could not be started")


def test_the_state_of_a_study_is_plain_json(study):
    suggest(study, 0, {"lr": 0.01})
    StudyDelivery(study.folder).sync()

    saved_state = json.loads((study.folder / "mlflow.json").read_text())
    assert saved_state["trials"]["0"]["point"] == {"lr": 0.01}


def test_studies_are_found_by_folder_and_by_name(study, tmp_path):
    runs = study.runs
    assert mlflow_study.studies(None, runs) == [study.folder]
    assert mlflow_study.studies("digits/sweep-0123abcd", runs) == [study.folder]
    assert mlflow_study.studies(str(study.folder), tmp_path) == [study.folder]
    assert mlflow_study.studies("digits/20261121-000000-0000", runs) == []


def without(state_type, *names):
    return {key: value for key, value in state_type.items() if key not in names}


def test_a_memory_of_an_earlier_dlx_is_gone_on_with(study):
    """It had no experiment's id, and said of no run whether all that was sent has arrived."""
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    advance(study, 0, 20, "finished")
    advance(study, 1, 10, "waiting")
    assert StudyDelivery(study.folder).sync(final=False).complete
    path = study.folder / "mlflow.json"
    state_type = without(json.loads(path.read_text()), "experiment_id", "sure", "not_finite")
    state_type["trials"] = {n: without(child, "sure", "not_finite") for n, child in state_type["trials"].items()}
    path.write_text(json.dumps(state_type))

    advance(study, 1, 20, "finished", first=11)
    result = StudyDelivery(study.folder).sync()
    assert (result.complete, result.sent, result.error) == (True, 1, "")
    found = Reader(study)
    assert len(found.trials) == 2
    for number in (0, 1):
        assert [step for step, _ in found.curve(number, "train/running_loss")] == list(range(1, 21))


def test_the_best_so_far_is_there_once_where_the_mirror_forgot_it(study):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    advance(study, 0, 10, "finished")
    advance(study, 1, 20, "finished")
    StudyDelivery(study.folder).sync()
    (study.folder / "mlflow.json").unlink()
    time.sleep(0.01)
    (study.folder / "beside").touch()  # the folder is younger than before

    assert StudyDelivery(study.folder).sync().complete
    assert Reader(study).curve(None, "best/valid/error") == [(0, 0.2), (1, 0.1)]


def test_where_a_metric_of_a_trial_was_no_number_first_stays_in_a_tag(study):
    suggest(study, 0, {"lr": 0.01})
    tracking = StudyDelivery(study.folder)
    advance(study, 0, 10, "waiting", (float("nan"),))
    tracking.sync(final=False)
    advance(study, 0, 20, "finished", (float("nan"),), first=11)
    tracking.sync()

    result = Reader(study).trials[0].data.tags["dlx.not_finite"]
    assert result == "train/running_loss: nan at step 1; valid/error: nan at step 10"


def test_a_study_that_was_deleted_there_is_said_and_can_be_sent_anew(study):
    suggest(study, 0, {"lr": 0.01})
    advance(study, 0, 10, "finished")
    StudyDelivery(study.folder).sync()
    found = Reader(study)
    found.client.delete_run(found.parent.info.run_id)

    result = StudyDelivery(study.folder).sync()
    assert result.error == (
        f"the MLflow run {found.parent.info.run_id} of digits/sweep-0123abcd was deleted there; "
        f"`rm {shlex.quote(str(study.folder / 'mlflow.json'))}` and "
        f"`dlx runs sync {RunFolder(study.folder).argument}` "
        f"send it anew, `MLFLOW_TRACKING_URI={shlex.quote(StudyDelivery(study.folder).uri)} mlflow runs restore "
        f"--run-id {found.parent.info.run_id}` brings it back"
    )


def content_of(study):
    """All that MLflow has of a study, without the ids and times of its own."""
    found = Reader(study)
    runs = {None: found.parent, **found.trials}
    own = ("mlflow.parentRunId", "mlflow.user", "dlx.point")
    return {
        n: (
            run.info.status,
            dict(run.data.params),
            {key: text for key, text in run.data.tags.items() if key not in own},
            {name: found.curve(n, name) for name in run.data.metrics},
            sorted(file.path for file in found.client.list_artifacts(run.info.run_id)),
        )
        for n, run in runs.items()
    }


@pytest.mark.slow
def test_killed_behind_any_call_the_rest_arrives_once(study, empty_store, monkeypatch):
    suggest(study, 0, {"lr": 0.01}, {"lr": 0.02})
    advance(study, 0, 10, "finished")
    advance(study, 1, 20, "finished")
    assert StudyDelivery(study.folder).sync().complete
    whole, number = content_of(study), 0
    while True:
        number += 1
        (study.folder / "mlflow.json").unlink()
        store.connect(f"sqlite:///{study.runs.absolute()}/mlflow.db")._tracking_client.store.engine.dispose()
        store.connect.cache_clear()
        shutil.copy(empty_store, study.runs / "mlflow.db")
        client = store.connect(f"sqlite:///{study.runs.absolute()}/mlflow.db")
        if not killed_behind(number, client, monkeypatch, StudyDelivery(study.folder).sync):
            break
        result = StudyDelivery(study.folder).sync()
        assert (result.complete, result.error) == (True, "")
        assert content_of(study) == whole, f"killed behind call {number}"
    assert number > 15
