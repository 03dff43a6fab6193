"""Runs that have arrived and have not changed since are passed over, without MLflow."""

import os
import shutil
import time

import pytest

from dlx import track
from dlx.cli import run_list
from dlx.runs.folder import RunFolder
from dlx.show import listings
from dlx.sweeps import mlflow_study
from dlx.track import store
from dlx.track.arrivals import Stores
from dlx.track.delivery import Delivery

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
]


@pytest.fixture
def run(tmp_path, empty_store):
    """A run that MLflow has."""
    made = RunFolder.create(tmp_path / "runs", "digits")
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    made.append({"record": "start", "time": 1.0})
    made.append({"record": "end", "time": 2.0, "step": 1, "seconds": 1.0, "status": "finished", "metrics": {}})
    made.close()
    made.write_text("artifacts/figures/network.svg", "<svg/>")
    for path in made.dir.rglob("*"):
        os.utime(path, (2, 2))  # the clock of files moves in steps of some milliseconds
    done = track.sync(made)
    assert done.complete, done.error
    return made


def test_a_run_that_has_arrived_is_unchanged(run):
    state = Stores().unchanged(run)
    assert state is not None
    assert (state["run_id"], state["uri"]) == (run.read_json("mlflow.json")["run_id"], store.tracking_uri(run))


def tagged(run):
    run.write_json("tags.json", {"good": "yes"})


def drawn(run):
    run.write_text("artifacts/figures/curves.svg", "<svg/>")


def resumed(run):
    run.append({"record": "step", "time": 3.0, "step": 2, "epoch": 0.1, "metrics": {"loss": 1.0}})
    run.close()


def failed(run):
    run.write_json("mlflow.json", run.read_json("mlflow.json") | {"error": "MLflow cannot be reached"})


def damaged(run):
    run.write_text("mlflow.json", "[")


def deleted_there(run):
    store.connect(store.tracking_uri(run)).delete_run(run.read_json("mlflow.json")["run_id"])


def emptied(run):
    path = run.root / "mlflow.db"
    path.write_bytes(b"")


def removed(run):
    (run.root / "mlflow.db").unlink()


CHANGES = [tagged, drawn, resumed, failed, damaged, deleted_there, emptied, removed]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_has_changed_since_is_for_mlflow(run, change):
    change(run)
    assert Stores().unchanged(run) is None


def test_what_is_written_while_a_delivery_is_at_work_is_for_the_next_one(run, monkeypatch):
    def late(_):
        tagged(run)  # those of before have been read
        time.sleep(0.02)  # the clock of files moves

    monkeypatch.setattr(Delivery, "log_artifacts", late)
    assert track.sync(run).complete
    assert Stores().unchanged(run) is None
    monkeypatch.undo()
    assert track.sync(run).complete
    client, number = store.connect(store.tracking_uri(run)), run.read_json("mlflow.json")["run_id"]
    assert client.get_run(number).data.tags["good"] == "yes"
    assert Stores().unchanged(run) is not None


def test_a_run_that_may_be_meant_for_another_store_is_for_mlflow(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    assert Stores().unchanged(run) is None


def test_a_server_is_not_asked(run):
    run.write_json("mlflow.json", run.read_json("mlflow.json") | {"uri": "http://127.0.0.1:9/"})
    assert Stores().unchanged(run) is not None


def test_a_study_is_passed_over_too(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    study = tmp_path / "runs" / "digits" / "sweep-1"
    study.mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    from dlx.sweeps.study import Study

    Study.begin(study, {"metrics": ["valid/error"], "rising": [False], "space": {}}).close()
    for file in study.iterdir():
        os.utime(file, (2, 2))
    assert Stores().unchanged(RunFolder(study)) is None
    done = mlflow_study.deliver(study)
    assert done.complete, done.error
    assert Stores().unchanged(RunFolder(study)) is not None
    with (study / "journal.jsonl").open("a") as journal:
        journal.write("\n")
    assert Stores().unchanged(RunFolder(study)) is None


def test_many_that_have_arrived_are_a_count_and_what_has_not_is_delivered(run, capsys, monkeypatch):
    for number in range(listings.MANY):
        shutil.copytree(run.dir, run.dir.with_name(f"20200101-{number:06d}-0000"))
    resumed(run)
    run_list.sync(None, None, runs=run.root)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{run.key}  delivered 1 records to {store.tracking_uri(run)}",
        f"{listings.MANY} runs  already in MLflow",
    ]
