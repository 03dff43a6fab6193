"""Pictures that a run or a study has in its artifacts, and the process that draws them when nobody waits any more."""

import os
import re
import sys
import time
import types

import pytest
from commands import dlx
from made_runs import made_run

from dlx.report import artifacts
from dlx.runs import origin
from dlx.runs.folder import RunFolder
from dlx.track import delivery, mirror
from dlx.track.scalars import ScalarFiles
from dlx.track.sync import RunDelivery

pytestmark = pytest.mark.filterwarnings("ignore")
GAN = """
name: gan
data: {ring: {train: 64, valid: 32, test: 32, std: 0.1}}
networks:
  generator: {inputs: {noise: [2]}, layers: [{linear: 4}, relu, {linear: 2}]}
  discriminator: {inputs: {point: [2]}, layers: [{linear: 4}, relu, {linear: 1}]}
objective: gan
train: {steps: 6, batch_size: 16, optimizer: {adam: 1e-3}}
track: {mlflow: false}
"""


def words(path):
    """The texts of a picture."""
    return re.findall(r"<text[^>]*>([^<]+)</text>", path.read_text())


def lines(path):
    """The lines of data in a picture, as numbers of points."""
    found = re.findall(r'aria-roledescription="line mark"[^>]* d="([^"]*)"', path.read_text())
    return [one.count("L") + 1 for one in found]


def drawn_run(root, **more):
    return made_run(
        root,
        evaluations={4: {"valid/error": 0.4, "valid/loss": 1.0}, 8: {"valid/error": 0.2, "valid/loss": 0.5}},
        steps=[(step, 2.0 / step) for step in range(1, 9)],
        end={"metrics": {"valid/error": 0.2}},
        **more,
    )


def test_a_run_has_its_curves_rate_matrix_and_network(tmp_path):
    run = drawn_run(tmp_path, confusion=[[3, 1], [0, 4]])

    assert artifacts.write(run.dir) == []
    folder = run.dir / "artifacts" / "figures"
    assert {path.name for path in folder.iterdir()} == {
        "confusion.svg",
        "curves.svg",
        "learning_rate.svg",
        "network.svg",
    }
    assert {"valid/error", "loss", "train/running_loss", "valid/loss"} <= set(words(folder / "curves.svg"))
    assert sorted(lines(folder / "curves.svg")) == [2, 2, 8]
    assert lines(folder / "learning_rate.svg") == [8]
    assert {"3", "1", "4", "cat", "dog"} <= set(words(folder / "confusion.svg"))
    assert "linear 32" in " ".join(words(folder / "network.svg"))


def test_they_are_drawn_anew_where_the_records_are_newer_alone(tmp_path):
    run = drawn_run(tmp_path)
    artifacts.write(run.dir)
    curves = run.dir / "artifacts" / "figures" / "curves.svg"
    before = curves.stat().st_mtime_ns
    artifacts.write(run.dir)
    assert curves.stat().st_mtime_ns == before

    later = time.time() + 5
    os.utime(run.dir / "metrics.jsonl", (later, later))
    artifacts.write(run.dir)
    assert curves.stat().st_mtime_ns > before


def test_one_picture_that_fails_is_named_and_the_others_are_there(tmp_path):
    run = drawn_run(tmp_path)
    run.write_text("confusion.json", "{")

    (problem,) = artifacts.write(run.dir)
    assert re.match(rf"confusion.svg of {run.key} was not drawn: .*confusion.json", problem)
    assert {path.name for path in (run.dir / artifacts.FOLDER).iterdir()} == {
        "curves.svg",
        "learning_rate.svg",
        "network.svg",
    }


def test_a_running_run_is_left_for_its_end(tmp_path):
    run = made_run(tmp_path, steps=[(1, 2.0)])
    run.write_json("lock.json", {"pid": os.getpid()})

    assert artifacts.write(run.dir) == []
    assert not (run.dir / "artifacts").exists()


def test_many_quantities_leave_the_first_twelve(tmp_path):
    metrics = {f"train/term_{i:02}": 1.0 for i in range(20)} | {"valid/error": 0.5, "valid/loss": 0.5}
    run = made_run(tmp_path, evaluations={4: metrics, 8: metrics})
    artifacts.write(run.dir)

    there = {one for one in words(run.dir / artifacts.FOLDER / "curves.svg") if "/" in one}
    assert {"valid/error", "valid/loss", "train/term_00", "train/term_09"} <= there
    assert "train/term_10" not in there


def test_sizes_of_gradients_are_no_curves_of_their_own(tmp_path):
    metrics = {"valid/error": 0.5, "gradient/linear_1": 0.1, "update/linear_1": 0.01}
    run = made_run(tmp_path, evaluations={4: metrics, 8: metrics})
    artifacts.write(run.dir)

    there = words(run.dir / artifacts.FOLDER / "curves.svg")
    assert "valid/error" in there
    assert not [one for one in there if "linear_1" in one]


# --- seeds ----------------------------------------------------------------------------------------------------------


def two_seeds(root):
    runs = [drawn_run(root, seed=seed, confusion=[[3 + seed, 1], [0, 4]]) for seed in range(2)]
    origin.record_seeds(runs, 2)
    return runs


def test_the_seeds_of_a_command_have_pictures_of_their_means_with_bands_beside_those_of_each(tmp_path):
    first, second = two_seeds(tmp_path)
    for run in (first, second):
        assert artifacts.write(run.dir) == []

    together = first.dir / "seeds" / "figures"
    names = {"confusion.svg", "curves.svg", "learning_rate.svg", "network.svg"}
    assert {path.name for path in together.iterdir()} == names
    assert {path.name for path in (first.dir / artifacts.FOLDER).iterdir()} == names
    assert not (second.dir / "seeds").exists()
    drawn, alone = together / "curves.svg", first.dir / artifacts.FOLDER / "curves.svg"
    assert sorted(lines(drawn)) == sorted(lines(alone)) == [2, 2, 8]
    assert {"7", "2", "8"} <= set(words(together / "confusion.svg"))
    bands = [path.read_text().count('aria-roledescription="area mark"') for path in (drawn, alone)]
    assert bands[0] > bands[1] == 0


@pytest.mark.parametrize("states", [("running", "finished"), ("stopped", "finished"), ("finished",)])
def test_seeds_that_go_on_or_of_which_one_alone_has_finished_have_none(tmp_path, states):
    ends = {"running": None, "stopped": {"status": "stopped"}, "finished": {}}
    runs = [made_run(tmp_path, seed=n, steps=[(1, 2.0), (2, 1.0)], end=ends[how]) for n, how in enumerate(states)]
    for run, state in zip(runs, states, strict=True):
        if state == "running":
            run.write_json("lock.json", {"pid": os.getpid()})
    origin.record_seeds(runs, 2)

    assert artifacts.write(runs[-1].dir) == []
    assert not (runs[0].dir / "seeds").exists()


def test_pictures_of_seeds_are_drawn_anew_where_one_of_them_went_on(tmp_path):
    first, second = two_seeds(tmp_path)
    artifacts.write(second.dir)
    curves = first.dir / "seeds" / "figures" / "curves.svg"
    before = curves.stat().st_mtime_ns
    artifacts.write(second.dir)
    assert curves.stat().st_mtime_ns == before

    later = time.time() + 5
    os.utime(second.dir / "metrics.jsonl", (later, later))
    artifacts.write(first.dir)
    assert curves.stat().st_mtime_ns > before


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    """A trained GAN, without samples."""
    from dlx.experiment import runner
    from dlx.spec import load

    folder = tmp_path_factory.mktemp("gan")
    (folder / "g.yaml").write_text(GAN)
    return folder, runner.run(load(folder / "g.yaml"), folder / "runs").results[0].run


def test_samples_are_those_that_the_training_would_have_drawn_at_its_end(gan):
    from dlx.experiment import runner
    from dlx.spec import load

    folder, run = gan
    assert artifacts.write(run.dir) == []
    (made,) = (run.dir / artifacts.SAMPLES).iterdir()
    asked = runner.run(load(folder / "g.yaml", ["+train.samples=6"]), folder / "other").results[0].run
    expected = asked.dir / artifacts.SAMPLES / "step-000006-samples.png"
    assert (made.name, made.read_bytes() == expected.read_bytes()) == ("final-samples.png", True)
    text = " ".join(words(run.dir / artifacts.FOLDER / "network.svg"))
    assert "generator" in text
    assert "discriminator" in text


def test_samples_that_take_long_are_left_to_a_command(gan, monkeypatch):
    _, run = gan
    for path in (run.dir / artifacts.SAMPLES).glob("*"):
        path.unlink()
    monkeypatch.setattr(artifacts, "SECONDS", 1e-4)

    (problem,) = artifacts._samples(run)
    assert f"more than 0 seconds: `dlx sample {run.argument}`" in problem
    assert not any((run.dir / artifacts.SAMPLES).glob("*"))


# --- beside the mirror ----------------------------------------------------------------------------------------------


class Process:
    """A mirror that goes on."""

    pid, stdin = 77, None

    def poll(self):
        return None


def test_nobody_waits_for_pictures(tmp_path):
    run = drawn_run(tmp_path)
    started = mirror.Mirror(run, Process())
    assert started.finish(0.1) == "behind"
    run.write_json("mlflow.json", {"delivered_by": 78})
    assert started.finish(0.1) == "behind"
    run.write_json("mlflow.json", {"delivered_by": 77})
    assert started.finish(60.0) == "delivered"


def test_they_are_drawn_once_all_else_is_in_mlflow_and_follow_it(tmp_path, empty_store, monkeypatch):
    import shutil

    from mlflow import MlflowClient

    run = drawn_run(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client, seen = MlflowClient(uri), []

    def write(folder):
        state = RunFolder(folder).read_json("mlflow.json")
        there = client.get_run(state["run_id"])
        seen.append((state["delivered_by"], there.info.status, there.data.metrics["valid/error"]))
        return artifacts.write(folder)

    stand_in = types.SimpleNamespace(write=write)
    monkeypatch.setattr(mirror, "import_module", lambda name: {mirror.PICTURES: stand_in}[name])
    monkeypatch.setattr(delivery, "alive", lambda pid: False)
    monkeypatch.setattr(sys, "argv", ["mirror", str(run.dir), "--follow", "1", "--uri", uri])
    assert mirror.main(RunDelivery, "dlx.track", ScalarFiles) == 0
    assert seen == []  # as the environment of the tests asks
    monkeypatch.delenv(mirror.FIGURES)

    assert artifacts.__name__ == mirror.PICTURES
    assert mirror.main(RunDelivery, "dlx.track", ScalarFiles) == 0
    assert seen == [(os.getpid(), "FINISHED", 0.2)]
    state = run.read_json("mlflow.json")
    assert "figures/curves.svg" in [one.path for one in client.list_artifacts(state["run_id"], "figures")]


def test_sync_draws_what_a_kill_has_left_out(tmp_path, empty_store):
    import shutil

    from mlflow import MlflowClient

    declined, run = drawn_run(tmp_path), drawn_run(tmp_path, name="other")
    run.write_text("spec.yaml", run.file("spec.yaml").read_text().replace("mlflow: false", "mlflow: true"))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    done = dlx("runs", "sync", "--runs", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    files = [one.path for one in client.list_artifacts(run.read_json("mlflow.json")["run_id"], "figures")]
    assert {"figures/curves.svg", "figures/network.svg"} <= set(files)
    assert not (declined.dir / "artifacts").exists()
