"""A training that is killed and goes on is one run in MLflow, with every point of its curve once."""

import shutil
import signal
import time
from pathlib import Path

from commands import Started, started

from dlx.runs.folder import RunFolder
from dlx.track import store, sync

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 160, valid: 40, test: 40}}
network: {layers: [linear: 8, relu, linear: 4]}
train: {epochs: 100, batch_size: 8, save_every: 10, log_every: 1}
"""


def test_a_killed_training_goes_on_in_the_same_run_of_mlflow(tmp_path, monkeypatch, empty_store, copied_mirrors):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "s.yaml").write_text(SPEC)
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    training = train(tmp_path, "s.yaml")
    wait_for(lambda: any(b'"step":100,' in p.read_bytes() for p in runs.glob("s/*/metrics.jsonl")), training)
    training.send_signal(signal.SIGSTOP)
    wait_for(lambda: mirrored(runs) > 0, training)  # MLflow has some of it
    training.send_signal(signal.SIGKILL)
    training.communicate()
    (folder,) = (runs / "s").iterdir()
    run = RunFolder(folder)
    before = run.read_json("mlflow.json")["run_id"]
    assert run.status() == "died"

    resumed = train(tmp_path, "--resume", "last")
    _, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, err
    done = sync(run)

    client = store.connect(store.tracking_uri(run))
    assert (done.complete, done.run_id) == (True, before)
    (experiment,) = client.search_experiments(filter_string="name = 's'")
    (there,) = client.search_runs([experiment.experiment_id])
    assert (there.info.run_id, there.info.status) == (before, "FINISHED")
    curve = [r for r in run.records() if r["record"] == "step"]
    sent = sorted((m.step, m.value) for m in client.get_metric_history(before, "train/running_loss") if m.step)
    assert [step for step, _ in sent] == [r["step"] for r in curve] == [*range(1, 2001)]
    assert [value for _, value in sent] == [r["metrics"]["train/running_loss"] for r in curve]


def train(folder: Path, *more: str) -> Started:
    return started("train", *more, "--runs", "runs", cwd=folder)


def mirrored(runs: Path) -> int:
    found = [RunFolder(folder).read_json("mlflow.json") for folder in runs.glob("s/*")]
    return max((one.get("records", 0) for one in found), default=0)


def wait_for(true, process) -> None:
    until = time.monotonic() + 240
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
