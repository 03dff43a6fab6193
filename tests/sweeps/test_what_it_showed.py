"""`dlx sweep` to its leaderboard, figures, MLflow and early end."""

import json
import re
import shutil
import time

import commands
import pytest
from studies import RATE, SPEC, spec_in, swept

from dlx.errors import SpecError
from dlx.show.leaderboard import ranking, remarks
from dlx.sweeps.leaderboard import rank
from dlx.sweeps.trial import Trial

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
]


def dlx(folder, *argv):
    return commands.dlx(*argv, cwd=folder)


def trial(number, *values, state="finished", step=100, **point):
    rungs = {step: {seed: {"e": value} for seed, value in enumerate(values)}}
    return Trial(number, {f"a.{k}": v for k, v in point.items()}, 0, 10, 20, state=state, rungs=rungs, seconds=1.25)


def test_the_board_shows_ties_intervals_and_how_far_each_is_behind(capsys):
    near, best, far = (
        trial(0, 0.12, 0.23, 0.31, lr=0.1),
        trial(1, 0.1, 0.2, 0.3, lr=0.02),
        trial(2, 2, 2.2, 2.4, lr=3),
    )
    ranking(rank([near, best, far], "e", False), "e")

    assert capsys.readouterr().out.splitlines() == [
        "place  trial    lr     e  ± 95 %  behind the best    s",
        "   1=      1  0.02   0.2    0.25                   1.2",
        "   1=      0   0.1  0.22    0.24    +0.02 ± 0.025  1.2",
        "    3      2     3   2.2     0.5        +2 ± 0.25  1.2",
        "2 trials share the first place: 3 seeds do not tell them apart (paired, 95 %)",
    ]


def test_the_board_says_where_a_trial_was_stopped_and_how_many_more_there_are(capsys):
    board = rank([trial(0, 0.5, lr=1), trial(1, 0.4, lr=2, state="stopped"), trial(2, 0.6, lr=3)], "e", False)
    ranking(board, "e", rows=2)

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "0", "1", "0.5", "1.2", "finished"]
    assert lines[3:] == [
        "and 1 more trial",
        "one seed each: how far the seed decides is not known; `sweep.seeds: 3` would show it",
    ]
    ranking(board, "e")
    assert "stopped at 100" in capsys.readouterr().out
    assert remarks([], 3) == []


def test_a_search_ends_where_the_best_cannot_be_distinguished(tmp_path):
    """A rate that hardly matters: all trials of all generations are alike."""
    path = spec_in(tmp_path, "sweep: {generation: 2, seeds: 3, until_alike: 2, trials: 20, sampler: random}\n")
    found = swept(path, tmp_path / "runs", "train.optimizer.adam.lr=interval(1e-9,2e-9)")

    assert len(found.study.trials) == 6
    assert found.reason == "finished"
    assert "cannot be told apart: valid/error differs by" in found.note
    assert found.as_json()["note"] == found.note


def test_to_end_a_search_so_takes_three_seeds(tmp_path):
    path = spec_in(tmp_path, "sweep: {seeds: 2, until_alike: 2}\n")
    with pytest.raises(SpecError) as done:
        swept(path, tmp_path / "runs", RATE)

    (problem,) = done.value.problems
    assert problem.message == "`until_alike` takes 3 seeds of each point to know chance, and there are 2"
    assert problem.hint == "Write `seeds: 3` beside it."
    assert problem.mark.line == SPEC.count("\n") + 1


def test_json_has_the_leaderboard(tmp_path):
    found = swept(spec_in(tmp_path), tmp_path / "runs", RATE, "++sweep.seeds=2", trials=3).as_json()

    first = found["leaderboard"][0]
    assert (first["place"], first["trial"]) == (1, found["best"]["number"])
    assert found["tracking"] is None


def test_figures_are_saved_where_they_are_asked_for(tmp_path):
    spec_in(tmp_path, "track: {mlflow: false}\n")
    done = dlx(tmp_path, "sweep", "s.yaml", "train.optimizer.adam.lr=0.1,0.01", "--figures")

    assert done.returncode == 0, done.stderr
    folder = tmp_path / re.search(r"^figures (\S+)$", done.stdout, re.MULTILINE)[1]
    assert {"history.png", "slices.png"} <= {file.name for file in folder.iterdir()}
    assert "mlflow" not in done.stdout


def test_a_sweep_is_in_mlflow_with_its_trials_and_figures(tmp_path, empty_store, copied_mirrors, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("DLX_MIRROR_FIGURES")
    spec_in(tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    done = dlx(tmp_path, "sweep", "s.yaml", "train.optimizer.adam.lr=0.1,0.01", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tracking"] in {"delivered", "behind"}
    state = f"{found['dir']}/mlflow.json"
    until = time.monotonic() + 300
    while time.monotonic() < until and not _ended(tmp_path / state):
        time.sleep(0.2)
    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("s").experiment_id])
    (parent,) = [run for run in runs if run.data.tags.get("dlx.kind") == "study"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.data.params["train.optimizer.adam.lr"] for run in children} == {"0.1", "0.01"}
    assert all(set(run.data.params) == {"train.optimizer.adam.lr"} for run in children)
    there = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert {"figures/history.png", "figures/best_curves.svg", "figures/best_network.svg"} <= there
    assert json.loads(dlx(tmp_path, "runs", "sync", found["dir"], "--json").stdout)


def _ended(state):
    """Whether all is in MLflow, with the pictures, which are drawn after all else has arrived."""
    known = json.loads(state.read_text()) if state.exists() else {"state": "", "files": ()}
    return known["state"] == "finished" and "artifacts/figures/best_network.svg" in known["files"]
