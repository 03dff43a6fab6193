"""Trials in other processes: the same study, whoever trains it and whoever is killed meanwhile."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from commands import Started, started
from studies import HALVING, RATE, WIDTH, journal, spec_in, swept, weights

from dlx.runs.folder import RunFolder
from dlx.sweeps.events import TaskEnded
from dlx.sweeps.study import Study
from dlx.sweeps.workers.base import Task, Trainer, TrialOutcome, read_back
from dlx.sweeps.workers.process_pool import TRIES, Processes
from dlx.utils.system import folder_lock

HOW = [RATE, WIDTH, HALVING, "++sweep.sampler=tpe", "++sweep.generation=4"]
SAVING = ["+train.save_every=2", "train.epochs=60"]


@pytest.fixture
def spec(tmp_path):
    return spec_in(tmp_path)


def never() -> bool:
    return False


def test_one_process_and_three_make_the_same_study(spec, tmp_path, copied_workers):
    one = swept(spec, tmp_path / "one", *HOW, trials=8)
    three = swept(spec, tmp_path / "three", *HOW, trials=8, jobs=3)

    assert journal(one) == journal(three)
    best = one.study.best()
    assert weights(tmp_path / "one" / best.runs[0]) == weights(tmp_path / "three" / best.runs[0])


def test_a_worker_that_is_killed_is_replaced_and_its_trial_goes_on(spec, tmp_path, copied_workers):
    """Each worker is killed as soon as it has told of something, until three are dead."""
    killed: list[int] = []

    def callback(event: object) -> None:
        fresh = [pid for pid in copied_workers if pid not in killed and psutil.pid_exists(pid)]
        if isinstance(event, TaskEnded) and fresh and len(killed) < 3:
            killed.append(fresh[0])
            os.kill(fresh[0], signal.SIGKILL)

    found = swept(spec, tmp_path / "killed", *HOW, *SAVING, trials=8, jobs=2, callback=callback)
    whole = swept(spec, tmp_path / "whole", *HOW, *SAVING, trials=8)

    assert len(killed) == 3
    assert journal(found) == journal(whole)


class Doomed(Processes):
    """Its workers die at once."""

    started = 0

    def start(self, number: int):
        self.started += 1
        worker = super().start(number)
        worker.process.kill()
        return worker


def test_a_trial_whose_workers_die_again_and_again_fails_with_a_sentence(spec, tmp_path):
    workers = Doomed(1, tmp_path / "workers.log")
    task = Task(3, 0, str(tmp_path / "run"), spec.read_text())
    (outcome,) = workers.advance([task], never)
    workers.close()

    assert (outcome.number, outcome.ended) == (3, "failed")
    assert outcome.message.startswith(f"its worker died {TRIES + 1} times, at last by SIGKILL; ")
    assert workers.started == TRIES + 1


def test_workers_share_the_cores_and_take_no_more_than_openmp_may(tmp_path, monkeypatch):
    assert Processes(10_000, tmp_path / "log").threads == 1
    monkeypatch.delenv("DLX_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Processes(1, tmp_path / "log").threads == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert Processes(1, tmp_path / "log").threads == len(os.sched_getaffinity(0))


def test_workers_stay_over_many_trials_and_end_when_they_are_asked_to(spec, tmp_path):
    workers = Processes(2, tmp_path / "workers.log")
    tasks = [Task(i, i, str(tmp_path / "s" / f"run-{i}"), spec.read_text()) for i in range(6)]
    outcomes = list(workers.advance(tasks[:4], never))
    pids = {worker.process.pid for worker in workers.workers.values()}
    outcomes += workers.advance(tasks[4:], never)

    assert {worker.process.pid for worker in workers.workers.values()} == pids
    assert sorted(o.number for o in outcomes) == list(range(6))
    assert {o.ended for o in outcomes} == {"finished"}
    workers.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_that_is_asked_to_stop_saves_where_it_is(spec, tmp_path, copied_workers):
    text = (
        spec.read_text()
        .replace("epochs: 8", "epochs: 5000")
        .replace("batch_size: 32", "batch_size: 32, log_every: 1")
    )
    run = RunFolder(tmp_path / "s" / "run")
    workers = Processes(1, tmp_path / "workers.log")
    begun = lambda: (run.dir / "metrics.jsonl").exists() and any(r["record"] == "step" for r in run.records())  # noqa: E731
    (outcome,) = workers.advance([Task(0, 0, str(run.dir), text)], begun)
    workers.close()

    assert outcome.ended == "cut off"
    assert run.status() == "stopped"
    assert list((run.dir / "checkpoints").glob("step-*.safetensors"))


def test_two_trainers_at_one_run_wait_for_each_other(spec, tmp_path, copied_workers):
    run = tmp_path / "s" / "run"
    run.mkdir(parents=True)
    workers = Processes(1, tmp_path / "workers.log")
    with folder_lock(run):
        flying = workers.advance([Task(0, 0, str(run), spec.read_text())], never)
        workers.assign(__import__("collections").deque([[Task(0, 0, str(run), spec.read_text())]]))
        assert not (run / "metrics.jsonl").exists()
    assert [o.ended for o in flying][-1] == "finished"
    workers.close()


def test_a_run_is_read_back_where_it_is_as_far_as_it_is_to_come(spec, tmp_path):
    run = RunFolder(tmp_path / "s" / "run")
    trainer = Trainer()
    task = Task(0, 0, str(run.dir), spec.read_text(), until=9)
    (rested,) = trainer.advance([task], never)

    assert (rested.ended, rested.step) == ("rested", 9)
    assert set(rested.metrics) == {"train/running_loss", "valid/loss", "valid/accuracy", "valid/error"}
    for until, metrics in ((9, rested.metrics), (6, None), (12, None)):
        read = read_back(run, Task(0, 0, str(run.dir), "", until))
        assert (read is None) == (until > 9)
        assert read is None or metrics is None or read.metrics == metrics
    (finished,) = trainer.advance([Task(0, 0, str(run.dir), spec.read_text())], never)
    assert (finished.ended, finished.step) == ("finished", 24)
    assert read_back(run, task) == TrialOutcome(0, 0, "rested", 9, rested.metrics, run.end()["seconds"])


# --- the sweep itself is killed -------------------------------------------------------------------------------------


def begun(spec: Path, runs: Path, *more: str) -> Started:
    """The command of a sweep, which runs."""
    changes = [*HOW, *SAVING, "++track.mlflow=false"]
    return started("sweep", spec, *changes, "--trials", "6", "--runs", runs, *more)


def ended(process: Started) -> None:
    """Wait for a sweep that nobody kills."""
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def runs_on(process: psutil.Process) -> bool:
    """Whether a process of somebody else has not ended; the one that takes its status may take its time."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def killed_often(spec: Path, runs: Path, kills: int, *more: str) -> int:
    """Sweep, and be killed at random moments after the first suggestion, and go on to the end: how many hit."""
    rng, hits = random.Random(4), 0
    for _ in range(kills):
        process = begun(spec, runs, *more)
        deadline = time.monotonic() + 300
        while process.poll() is None and not list(runs.glob("s/sweep-*/owner.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        owners = list(runs.glob("s/sweep-*/owner.json"))
        while (
            process.poll() is None and owners and json.loads(owners[0].read_text() or "{}").get("pid") != process.pid
        ):
            time.sleep(0.02)
        try:
            process.wait(rng.uniform(0.0, 2.5))
        except subprocess.TimeoutExpired:
            hits += 1
            process.kill()
            process.wait()
    ended(begun(spec, runs, *more))
    return hits


def study_of(runs: Path) -> Study:
    (folder,) = runs.glob("s/sweep-*")
    return Study.open(folder)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_at_random_moments_ends_as_one_that_was_not(spec, tmp_path, kills):
    hits = killed_often(spec, tmp_path / "killed", kills)
    whole = swept(spec, tmp_path / "whole", *HOW, *SAVING, "++track.mlflow=false", trials=6, pack=16)

    assert hits
    assert journal(study_of(tmp_path / "killed").folder) == journal(whole)


def test_workers_end_where_their_sweep_was_killed_and_the_same_command_goes_on(spec, tmp_path):
    runs = tmp_path / "killed"
    process = begun(spec, runs, "--jobs", "2")
    while process.poll() is None and not list(runs.glob("s/trial-*/metrics.jsonl")):
        time.sleep(0.02)
    workers = children_of(process.pid)
    process.kill()
    process.wait()
    until = time.monotonic() + 300
    while any(map(runs_on, workers)) and time.monotonic() < until:
        time.sleep(0.02)

    assert workers
    assert not any(map(runs_on, workers))
    ended(begun(spec, runs, "--jobs", "2"))
    whole = swept(spec, tmp_path / "whole", *HOW, *SAVING, "++track.mlflow=false", trials=6)
    assert [t.point for t in study_of(runs).trials] == [t.point for t in whole.study.trials]
    assert [t.state for t in study_of(runs).trials] == [t.state for t in whole.study.trials]


def test_control_c_stops_cleanly_and_says_what_comes_next(spec, tmp_path):
    runs = tmp_path / "runs"
    process = begun(spec, runs, "++train.epochs=3000", "+train.evaluate_every=3")
    while process.poll() is None and not list(runs.glob("s/trial-*/metrics.jsonl")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    read, _ = process.communicate(timeout=300)

    assert process.returncode == 130
    assert "next    it was interrupted; the same command would go on with trials 0, 1, 2, 3" in read
    assert all(t.state == "waiting" for t in study_of(runs).trials)
