"""Seeds of one command are one run in MLflow with its children, with means and intervals by hand."""

import os
import shutil
import statistics
from pathlib import Path

import pytest

from dlx.runs import origin
from dlx.runs.folder import RunFolder
from dlx.track import store, sync, system_metrics
from dlx.track.delivery import Delivery

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
]

SPEC = "dlx: 1\nname: s\ntrain: {steps: 20, seed: SEED}\n"
BEGAN = 1_790_000_000.0
T_2, T_1 = 4.302653, 12.706205
"""The 97.5 % quantile of Student's t with two degrees of freedom, and with one (a table of any textbook)."""


@pytest.fixture
def root(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def begun(root, count, values, pid=2**22 + 1):
    """Seeds that have begun, each with its evaluation; the process `pid` that trains them is gone."""
    runs = []
    for seed, (first, _) in enumerate(values):
        run = RunFolder.create(root, "s")
        run.write_text("spec.yaml", SPEC.replace("SEED", str(seed)))
        run.write_json("lock.json", {"seed": seed, "pid": pid})
        origin.record_overrides(run, {"train.optimizer.adam.lr": 0.1, "train.seeds": count})
        run.append({"record": "start", "time": BEGAN}, record("evaluation", 10 + seed, 10, first))
        runs.append(run)
    origin.record_seeds(runs, count)
    return runs


def record(kind, second, step, value, **more):
    return {"record": kind, "time": BEGAN + second, "step": step, "metrics": {"valid/error": value}, **more}


def finish(run, second, value, status="finished"):
    metrics = {"valid/error": value, "test/error": value + 1}
    run.append(record("end", second, 20, value, seconds=2.0, status=status) | {"metrics": metrics})
    run.close()


class Reader:
    """What MLflow has of them."""

    def __init__(self, root):
        from mlflow import MlflowClient

        self.client = MlflowClient(f"sqlite:///{root}/mlflow.db")
        (experiment,) = self.client.search_experiments(filter_string="name = 's'")
        runs = self.client.search_runs([experiment.experiment_id])
        (self.parent,) = [run for run in runs if run.data.tags.get("dlx.kind") == "seeds"]
        self.children = {run.info.run_name: run for run in runs if run is not self.parent}

    def curve(self, name):
        found = self.client.get_metric_history(self.parent.info.run_id, name)
        return [(step, pytest.approx(value, rel=1e-6)) for step, value in sorted((m.step, m.value) for m in found)]


VALUES = [(0.5, 0.1), (0.7, 0.2), (0.9, 0.6)]


def test_three_seeds_have_their_means_and_intervals_at_one_parent(root):
    runs = begun(root, 3, VALUES, os.getpid())
    for seed, (run, (_, last)) in enumerate(zip(runs, VALUES, strict=True)):
        finish(run, 20 + seed, last)
        assert sync(run).complete, sync(run).error

    there = Reader(root)
    assert sorted(there.children) == [f"lr=0.1, seed {seed}" for seed in range(3)]
    parents = {run.data.tags["mlflow.parentRunId"] for run in there.children.values()}
    assert parents == {there.parent.info.run_id}
    assert (there.parent.info.run_name, there.parent.info.status) == ("lr=0.1, 3 seeds", "FINISHED")
    half = T_2 * statistics.stdev([0.1, 0.2, 0.6]) / 3**0.5
    assert there.curve("valid/error") == [(10, 0.7), (20, 0.3)]
    assert there.curve("valid/error/interval95") == [(20, half)]
    assert there.curve("test/error") == [(20, 1.3)]
    params = there.parent.data.params
    assert (params["train.seeds"], params["train.optimizer.adam.lr"], params["train.steps"]) == ("3", "0.1", "20")
    assert "train.seed" not in params
    assert there.parent.data.tags["dlx.seeds"] == "3 of 3 finished"
    assert there.parent.info.end_time == 1_790_000_022_000


def test_a_second_sync_and_a_lost_memory_double_nothing(root):
    runs = begun(root, 2, VALUES[:2])
    for run, (_, last) in zip(runs, VALUES, strict=False):
        finish(run, 20, last)
    for _ in range(2):
        assert all(sync(run).complete for run in runs)
    (runs[0].dir / "mlflow-seeds.json").unlink()
    assert all(sync(run).complete for run in runs)

    assert Reader(root).curve("valid/error") == [(10, 0.6), (20, 0.15)]


def test_seeds_of_which_one_is_missing_count_those_that_finished_and_the_mean_follows_the_rest(root):
    runs = begun(root, 3, VALUES)
    for run, (_, last) in zip(runs[:2], VALUES, strict=False):
        finish(run, 20, last)
    finish(runs[2], 20, 0.9, "stopped")
    assert all(sync(run).complete for run in runs)

    there = Reader(root)
    assert there.parent.info.status == "KILLED"
    assert there.parent.data.tags["dlx.seeds"] == "2 of 3 finished"
    assert there.curve("valid/error/interval95") == [(20, T_1 * statistics.stdev([0.1, 0.2]) / 2**0.5)]
    assert there.curve("test/error") == [(20, 1.15)]

    finish(runs[2], 30, 0.6)
    assert sync(runs[2]).complete
    there = Reader(root)
    assert there.parent.info.status == "FINISHED"
    assert there.parent.data.metrics["test/error"] == pytest.approx(1.3)
    assert there.curve("valid/error")[0] == (10, 0.6)  # of two, and then of three
    assert (10, 0.7) in there.curve("valid/error")


def test_while_one_is_running_the_parent_has_no_means(root):
    runs = begun(root, 2, VALUES[:2])
    finish(runs[0], 20, 0.1)
    runs[1].write_json("lock.json", {"seed": 1, "pid": os.getpid()})
    assert all(sync(run).complete for run in runs)
    runs[1].close()

    there = Reader(root)
    assert there.parent.info.status == "RUNNING"
    assert there.curve("valid/error") == []
    assert {name: run.info.status for name, run in there.children.items()} == {
        "lr=0.1, seed 0": "FINISHED",
        "lr=0.1, seed 1": "RUNNING",
    }


def test_members_lie_below_their_ensemble(root):
    whole, member = RunFolder.create(root, "s"), RunFolder.create(root, "s")
    for run in (whole, member):
        run.write_text("spec.yaml", SPEC.replace("SEED", "4"))
        run.append({"record": "start", "time": BEGAN})
    origin.record_member(member, whole)
    finish(member, 20, 0.1)
    assert sync(member).complete
    finish(whole, 21, 0.1)
    assert sync(whole).complete

    client = store.connect(f"sqlite:///{root}/mlflow.db")
    ids = {run.key: run.read_json("mlflow.json")["run_id"] for run in (whole, member)}
    tags = client.get_run(ids[member.key]).data.tags
    assert tags["mlflow.parentRunId"] == ids[whole.key]
    assert "mlflow.parentRunId" not in client.get_run(ids[whole.key]).data.tags


def test_a_parent_that_was_deleted_is_told_with_the_way_out(root):
    runs = begun(root, 2, VALUES[:2])
    for run, (_, last) in zip(runs, VALUES, strict=False):
        finish(run, 20, last)
    assert sync(runs[0]).complete
    client = store.connect(f"sqlite:///{root}/mlflow.db")
    client.delete_run(Reader(root).parent.info.run_id)

    error = sync(runs[1]).error

    assert "was deleted there" in error
    assert f"rm {runs[0].dir}/mlflow-seeds.json" in error
    (runs[0].dir / "mlflow-seeds.json").unlink()
    assert sync(runs[1]).complete
    assert Reader(root).curve("valid/error") == [(10, 0.6), (20, 0.15)]


def test_a_first_seed_that_is_gone_leaves_the_others_their_parent(root):
    runs = begun(root, 2, VALUES[:2])
    finish(runs[0], 20, 0.1)
    assert sync(runs[0]).complete
    shutil.rmtree(runs[0].dir)
    finish(runs[1], 21, 0.2)
    assert sync(runs[1]).complete

    there = Reader(root)
    assert len({run.data.tags["mlflow.parentRunId"] for run in there.children.values()}) == 1
    assert there.parent.data.metrics["test/error"] == pytest.approx(1.2)


def test_every_delivery_has_a_memory_of_its_own():
    from dlx.sweeps.mlflow_study import StudyDelivery
    from dlx.track.seeds import SeedsDelivery
    from dlx.track.sync import RunDelivery

    assert issubclass(SeedsDelivery, Delivery)
    assert RunDelivery.state_file == StudyDelivery.state_file != SeedsDelivery.state_file
    assert RunDelivery.lock_file != SeedsDelivery.lock_file


def test_the_parent_has_the_pictures_and_data_of_all_seeds_and_nothing_of_one_of_them(root):
    runs = begun(root, 2, VALUES[:2], os.getpid())
    for run in runs:
        run.write_json("lock.json", run.lock() | {"data": {"kind": "digits", "digest": "sha256:1f", "train": 7}})
    system_metrics.append(runs[0], {"cpu_utilization_percentage": 5.0})
    runs[0].write_text("artifacts/figures/curves.svg", "of the first seed")
    runs[0].write_text("artifacts/samples/final.png", "of the first seed")
    runs[0].write_text("seeds/figures/curves.svg", "of both")
    for seed, run in enumerate(runs):
        finish(run, 20 + seed, 0.5)
        assert sync(run).complete

    there = Reader(root)
    folder = Path(there.client.download_artifacts(there.parent.info.run_id, ""))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["curves.svg"]
    assert (folder / "figures" / "curves.svg").read_text() == "of both"
    (data,) = there.parent.inputs.dataset_inputs
    assert data.dataset.name == "digits train"
    assert not any(name.startswith("system/") for name in there.parent.data.metrics)
    assert there.children["lr=0.1, seed 0"].data.metrics["system/cpu_utilization_percentage"] == 5.0
    child = Path(there.client.download_artifacts(there.children["lr=0.1, seed 0"].info.run_id, "figures"))
    assert (child / "curves.svg").read_text() == "of the first seed"
