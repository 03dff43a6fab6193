"""Files of a run's scalars: a table, and TensorBoard's events, read back by TensorBoard's own reader."""

import csv
import math
import signal
import time

import numpy as np
import pytest
from commands import dlx, started

from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.sweeps import mlflow_study
from dlx.sweeps.study import Study
from dlx.sweeps.trial import Trial
from dlx.track import scalar_files, sync
from dlx.track.scalars import ScalarFiles, whole_events

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")

BEGAN = 1_790_000_000.25
TRACK = "dlx: 1\nname: s\ntrack: {mlflow: false, csv: true, tensorboard: true}\n"
SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 160, valid: 40, test: 40}}
network: {layers: [linear: 8, relu, linear: 4]}
train: {epochs: 100, batch_size: 8, save_every: 10, log_every: 1}
track: {mlflow: false, csv: true, tensorboard: true}
"""


def step(n, **more):
    return {"record": "step", "time": BEGAN + n, "step": n, "epoch": n / 4, **more, "metrics": {"train/loss": 1 / n}}


def evaluation(n, value=None):
    metrics = {"valid/loss": 2 / n if value is None else value, "valid/odd name!": 0.5}
    return {"record": "evaluation", "time": BEGAN + n + 0.5, "step": n, "epoch": n / 4, "metrics": metrics}


def end(n, status="finished"):
    metrics = {"valid/loss": 2 / n, "test/error": 0.25}
    return {"record": "end", "time": BEGAN + n + 1, "step": n, "seconds": 2.5, "status": status, "metrics": metrics}


@pytest.fixture
def run(tmp_path):
    made = RunFolder.create(tmp_path, "s")
    made.write_text("spec.yaml", TRACK)
    made.write_json("lock.json", {"seed": 3})
    made.append({"record": "start", "time": BEGAN})
    yield made
    made.close()


def table(run):
    with (run.dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def events(run):
    """What TensorBoard shows: by metric, the steps, moments and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    there = EventAccumulator(str(run.dir), size_guidance={"scalars": 0})
    there.Reload()
    return {tag: [(e.step, e.wall_time, e.value) for e in there.Scalars(tag)] for tag in there.Tags()["scalars"]}


def expected(run):
    """The same of the records, by hand: an end repeats what was measured last, and that is one point."""
    found = {}
    for record in run.records():
        metrics = record.get("metrics", {}) | ({"seconds": record["seconds"]} if record["record"] == "end" else {})
        for name, value in metrics.items():
            key = name.replace("!", "_")
            point = (record["step"], record["time"], value)
            if record["record"] != "end" or not found.get(key) or found[key][-1][::2] != point[::2]:
                found.setdefault(key, []).append(point)
    return found


def by_metric(rows):
    found = {}
    for row in rows:
        found.setdefault(row["metric"], []).append((int(row["step"]), float(row["time"]), float(row["value"])))
    return found


def in_single_precision(points):
    return {key: [(s, when, float(np.float32(v))) for s, when, v in several] for key, several in points.items()}


def test_both_files_have_every_point_once_by_the_names_of_mlflow(run):
    run.append(*map(step, range(1, 9)), evaluation(8), end(8))

    ScalarFiles(run.dir).update()

    points = expected(run)
    assert points["valid/loss"] == [(8, BEGAN + 8.5, 0.25)]
    assert by_metric(table(run)) == points
    assert events(run) == in_single_precision(points)
    first = table(run)[0]
    assert list(first) == ["run", "seed", "step", "epoch", "time", "metric", "value"]
    assert (first["run"], first["seed"], first["epoch"]) == (run.key, "3", "0.25")
    assert [path.name for path in scalar_files(run)] == ["metrics.csv", "events.out.tfevents.1790000000.dlx"]


def test_numbers_that_are_none_stay_what_they_are(run):
    run.append(evaluation(1, math.inf), evaluation(2, math.nan))

    ScalarFiles(run.dir).update()

    assert [row["value"] for row in table(run) if row["metric"] == "valid/loss"] == ["inf", "nan"]
    (_, _, first), (_, _, second) = events(run)["valid/loss"]
    assert math.isinf(first)
    assert math.isnan(second)


def test_points_of_a_stage_have_its_name_first(run):
    run.append(step(1, stage="wide"), step(2, stage="narrow"))

    ScalarFiles(run.dir).update()

    assert (
        list(by_metric(table(run))) == sorted(events(run), reverse=True) == ["wide/train/loss", "narrow/train/loss"]
    )


def test_they_grow_with_the_records_and_whoever_writes_next_goes_on(run):
    first, second = ScalarFiles(run.dir), ScalarFiles(run.dir)
    sizes = []
    for n in range(1, 13):
        run.append(step(n))
        (first if n % 3 else second).update()
        sizes.append((run.dir / "metrics.csv").stat().st_size)

    assert sizes == sorted(set(sizes))
    assert by_metric(table(run)) == expected(run)
    assert events(run) == in_single_precision(expected(run))


def test_cut_off_at_any_byte_they_are_whole_again_after_the_next_start(run):
    run.append(*map(step, range(1, 5)), evaluation(4), end(4, "stopped"))
    ScalarFiles(run.dir).update()
    files = scalar_files(run)
    whole = [path.read_bytes() for path in files]

    for share in range(50):
        for path, text in zip(files, whole, strict=True):
            path.write_bytes(text[: len(text) * share // 50])
        ScalarFiles(run.dir).update()
        assert [path.read_bytes() for path in files] == whole, share

    run.append({"record": "start", "time": BEGAN + 9}, step(5), end(5))
    ScalarFiles(run.dir).update()
    assert by_metric(table(run)) == expected(run)
    assert events(run) == in_single_precision(expected(run))


def test_a_table_that_another_program_has_saved_is_written_anew(run):
    run.append(*map(step, range(1, 5)))
    ScalarFiles(run.dir).update()
    (run.dir / "metrics.csv").write_text("run;seed\r\n1;2\r\n")

    sync(run)

    assert by_metric(table(run)) == expected(run)


def test_events_end_where_the_first_torn_one_begins(run):
    run.append(*map(step, range(1, 5)))
    ScalarFiles(run.dir).update()
    path = scalar_files(run)[1]
    size = path.stat().st_size
    assert whole_events(path) == (5, size)

    path.write_bytes(path.read_bytes() + b"\0" * 40)  # as a file system leaves it after a crash

    assert whole_events(path) == (5, size)


def test_a_run_that_asks_for_none_has_none(tmp_path):
    run = RunFolder.create(tmp_path, "s")
    run.write_text("spec.yaml", "dlx: 1\nname: s\n")
    run.append(step(1))

    ScalarFiles(run.dir).update()
    run.close()

    assert scalar_files(run) == []
    assert not (run.dir / ".scalars.lock").exists()


def test_a_file_that_cannot_be_written_is_told(run):
    run.append(step(1))
    (run.dir / "metrics.csv").mkdir()

    with pytest.raises(DlxError, match=r"metrics.csv cannot be written: "):
        ScalarFiles(run.dir).update()
    assert "metrics.csv cannot be written" in sync(run).error


def test_tensorboard_that_is_not_installed_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("dlx.track.scalars.find_spec", lambda _: None)
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)

    with pytest.raises(SpecError) as caught:
        runner.run(load(path), tmp_path / "runs")

    assert str(caught.value).splitlines()[0] == (f"{path}:6:35  track.tensorboard")
    assert "`tensorboard: true` takes TensorBoard, which is not installed" in str(caught.value)
    assert "pip install 'dlx[tensorboard]'" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_trials_of_a_study_have_their_files(tmp_path):
    (tmp_path / "s" / "sweep-0").mkdir(parents=True)
    study = Study.begin(tmp_path / "s" / "sweep-0", {"metrics": ["valid/loss"], "rising": [False]})
    study.record_generation(0, [Trial(0, {"lr": 1}, 0, 1, 1, runs={0: "s/trial-0"})], [])
    trial = RunFolder(tmp_path / "s" / "trial-0")
    trial.dir.mkdir()
    trial.write_text("spec.yaml", TRACK)
    trial.append(step(1), step(2))
    writer = mlflow_study.files_of(study.folder)

    writer.update()
    assert by_metric(table(trial)) == expected(trial)
    trial.append(step(3))
    assert writer.poll(gone=True) > 0
    trial.close()
    study.close()

    assert writer.code == 0
    assert by_metric(table(trial)) == expected(trial)
    assert events(trial) == in_single_precision(expected(trial))


def test_runs_sync_writes_what_the_files_of_trials_lack(tmp_path, empty_store):
    import shutil

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "s" / "sweep-0").mkdir(parents=True)
    study = Study.begin(tmp_path / "s" / "sweep-0", {"metrics": ["valid/loss"], "rising": [False]})
    study.record_generation(0, [Trial(0, {"lr": 1}, 0, 1, 1, runs={0: "s/trial-0"})], [])
    study.close()
    trial = RunFolder(tmp_path / "s" / "trial-0")
    trial.dir.mkdir()
    trial.write_text("spec.yaml", TRACK)
    trial.append(step(1), step(2))
    trial.close()

    dlx("runs", "sync", "s/sweep-0", "--runs", tmp_path, cwd=tmp_path)

    assert by_metric(table(trial)) == expected(trial)


def test_two_seeds_that_are_killed_and_resumed_have_each_point_once(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    runs = tmp_path / "runs"
    training = started("train", "s.yaml", "train.seeds=2", "--runs", "runs", cwd=tmp_path)
    wait_for(lambda: any(b'"step":100,' in p.read_bytes() for p in runs.glob("s/*/metrics.jsonl")), training)
    training.send_signal(signal.SIGSTOP)
    wait_for(lambda: len(list(runs.glob("s/*/metrics.csv"))) == 2, training)
    training.send_signal(signal.SIGKILL)
    training.communicate()

    for folder in (runs / "s").iterdir():
        run = RunFolder(folder)
        assert run.end() is None
        done = dlx("train", "--resume", str(folder), "--runs", "runs", cwd=tmp_path, check=True)

        assert f"csv     {folder}/metrics.csv" in done.stdout or "files   still" in done.stdout
        assert f"tensorboard --logdir {folder.parent}" in done.stdout or "files   still" in done.stdout
        assert "mlflow" not in done.stdout
        assert sync(run).complete  # a busy machine leaves the process beside behind, and this waits for it
        points = expected(run)
        assert [s for s, _, _ in points["train/running_loss"]] == [*range(1, 2001)]
        assert by_metric(table(run)) == {
            k: [(s, round(t * 1000) / 1000, v) for s, t, v in p] for k, p in points.items()
        }
        there = events(run)
        assert {k: [(s, v) for s, _, v in p] for k, p in there.items()} == {
            k: [(s, v) for s, _, v in p] for k, p in in_single_precision(points).items()
        }
    assert {row["seed"] for folder in (runs / "s").iterdir() for row in table(RunFolder(folder))} == {
        "0",
        "1",
    }


def wait_for(true, process):
    until = time.monotonic() + 240
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
