"""A whole run: what it leaves on disk, how it ends, and that it can be read back."""

import json
import math
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from commands import dlx, started

from dlx.errors import DlxError, RunError, SpecError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.spec import load
from dlx.training.checkpoints.checkpoint import restore

SPEC = """
name: tiny
vars: {hidden: 12}
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 20, test: 20}}
network: {layers: [{linear: "${hidden}"}, relu, {linear: 3}]}
train: {epochs: 3, optimizer: {sgd: 0.1}}
track: {mlflow: false}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC)
    return path


def test_a_run_folder_holds_all_that_the_run_was(spec, tmp_path):
    result = runner.run(load(spec, ["vars.hidden=7"]), tmp_path / "runs").results[0]
    folder = result.run.dir

    assert folder.parent == tmp_path / "runs" / "tiny"
    assert {p.name for p in folder.iterdir()} == {
        "spec.yaml",
        "lock.json",
        "plan.json",
        "inputs.safetensors",
        "metrics.jsonl",
        "checkpoints",
        "origin.json",
    }
    assert trace(load(folder / "spec.yaml")).params == 6 * 7 + 7 + 7 * 3 + 3
    assert json.loads((folder / "plan.json").read_text()) == trace(load(spec, ["vars.hidden=7"])).as_json()
    lock = json.loads((folder / "lock.json").read_text())
    assert torch.__version__.startswith(lock["packages"]["torch"])
    assert lock["device"] == "cpu"
    assert lock["data"] | {"digest": ""} == {
        "kind": "synthetic",
        "digest": "",
        "source": lock["data"]["source"],
        "train": 60,
        "valid": 20,
        "test": 20,
    }
    assert len(lock["data"]["digest"]) == 64
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["record"] == "start"
    assert [r["step"] for r in records if r["record"] == "evaluation"] == [2, 4, 6]
    assert records[-1]["record"] == "end"
    assert records[-1]["status"] == "finished"
    assert records[-1]["metrics"] == result.metrics


def test_the_resolved_spec_runs_again_to_the_same_bits(spec, tmp_path):
    first = runner.run(load(spec, ["train.batch_size=16"]), tmp_path / "runs").results[0]
    again = runner.run(load(first.run.dir / "spec.yaml"), tmp_path / "runs").results[0]
    assert again.metrics == first.metrics
    for name in ("final.safetensors",):
        assert (first.run.dir / "checkpoints" / name).read_bytes() == (
            again.run.dir / "checkpoints" / name
        ).read_bytes()


def test_the_trained_network_comes_back_and_scores_the_same(spec, tmp_path):
    loaded = load(spec)
    result = runner.run(loaded, tmp_path / "runs").results[0]
    network, _ = restore(result.run.dir)
    test = loaded.data.load().test
    accuracy = (network(torch.from_numpy(test.x)).argmax(1).numpy() == test.y).mean()
    assert accuracy == pytest.approx(result.metrics["test/accuracy"])


def test_several_seeds_give_a_mean_and_an_interval(spec, tmp_path):
    results = runner.run(load(spec, ["train.seeds=4", "train.seed=10"]), tmp_path / "runs")
    assert [r.seed for r in results.results] == [10, 11, 12, 13]
    losses = [r.metrics["test/loss"] for r in results.results]
    mean = sum(losses) / 4
    deviation = math.sqrt(sum((x - mean) ** 2 for x in losses) / 3)
    assert results.metrics["test/loss"] == pytest.approx(mean)
    assert results.intervals["test/loss"] == pytest.approx(
        3.182446 * deviation / 2, rel=1e-5
    )  # Student's t, 3 degrees
    alone = runner.run(load(spec, ["train.seed=12"]), tmp_path / "runs")
    assert alone.metrics == results.results[2].metrics
    document = results.as_json()
    assert [s["seed"] for s in document["seeds"]] == [10, 11, 12, 13]


def test_without_data_or_train_there_is_nothing_to_run(tmp_path):
    path = tmp_path / "bare.yaml"
    path.write_text("network: {inputs: [4], layers: [{linear: 2}]}\n")
    with pytest.raises(SpecError) as error:
        runner.run(load(path), tmp_path)
    assert [p.message for p in error.value.problems] == [
        "there is no `data` to train with",
        "there is no `train` to train with",
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("network.layers=[flatten,{softmax: 1}]", "there is nothing to train: no layer of it has weights"),
        ("+freeze=['*']", "there is nothing to train: all of its weights are frozen"),
        (
            "+network.outputs={main: linear_2, aux: relu_1}",
            "the objective takes one output, and the network has `main`, `aux`",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_starts(spec, tmp_path, change, sentence):
    with pytest.raises(SpecError) as error:
        runner.run(load(spec, [change, "data.synthetic.classes=6"] if "layers" in change else [change]), tmp_path)
    assert error.value.problems[0].message == sentence
    assert not list(tmp_path.glob("tiny"))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_weights(spec, tmp_path):
    with pytest.raises(RunError) as error:
        runner.run(
            load(spec, ["train.optimizer.sgd.lr=1e4", "train.epochs=200", "train.log_every=50"]), tmp_path / "runs"
        )
    folder = next((tmp_path / "runs" / "tiny").iterdir())
    end = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert end["status"] == "failed"
    problem = error.value.problems[0]
    assert problem.message == end["message"]
    assert problem.message.startswith(("the loss is nan at step", "the loss is inf at step", "the weights of"))
    if (folder / "checkpoints").exists():
        assert f"are kept in {folder / 'checkpoints'}." in problem.hint
        newest = max(p.stem for p in (folder / "checkpoints").glob("step-*.json"))
        network, _ = restore(folder, newest)
        assert all(torch.isfinite(p).all() for p in network.parameters())
    else:
        assert problem.hint.endswith("It failed before the first checkpoint.")


def test_a_run_folder_that_cannot_be_written_is_said_before_training(spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DlxError) as error:
        runner.run(load(spec), tmp_path / "file" / "runs")
    assert error.value.exit_code == 2
    assert str(tmp_path / "file" / "runs") in str(error.value)


def test_ctrl_c_keeps_what_is_done(spec, tmp_path):
    process = started("train", spec, "train.epochs=2000000", "--runs", tmp_path / "runs")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "runs").glob("tiny/*/checkpoints/step-*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    folder = next((tmp_path / "runs" / "tiny").iterdir())
    end = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert end["status"] == "stopped"
    assert end["step"] > 0
    assert str(folder) in out
    assert "stopped after" in out
    network, _ = restore(folder, "stopped")
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_ctrl_c_before_the_first_step_is_an_end_too(spec, tmp_path):
    def interrupt(event: object) -> None:
        raise KeyboardInterrupt

    result = runner.run(load(spec), tmp_path / "runs", interrupt).results[0]
    assert (result.status, result.steps, result.run.status()) == ("stopped", 0, "stopped")


def test_without_a_held_out_part_it_is_said_that_nothing_was_evaluated(spec, tmp_path):
    without = ["data.synthetic.valid=null", "data.synthetic.test=null"]
    problem = dlx("train", spec, *without, "--runs", tmp_path / "runs")
    assert problem.returncode == 0
    assert "The data has no `valid` and no `test` part, so nothing was evaluated" in problem.stderr


def test_a_claim_that_training_does_not_meet_fails_with_status_1(spec, tmp_path):
    claim = "+expect={test/accuracy: {about: 2, within: 0.1}}"
    problem = dlx("train", spec, claim, "--runs", tmp_path / "runs")
    assert problem.returncode == 1
    assert "claims test/accuracy about 2, within 0.1, and it is " in problem.stderr


def test_train_json_is_one_document(spec, tmp_path):
    problem = dlx("train", spec, "--runs", tmp_path / "runs", "--json", check=True)
    document = json.loads(problem.stdout)
    assert {"run", "dir", "steps", "seconds", "metrics"} <= set(document)
    assert document["steps"] == 6
    assert {"train/loss", "valid/loss", "valid/accuracy", "test/loss", "test/accuracy"} <= set(document["metrics"])
    assert Path(document["dir"]).is_dir()
    assert problem.stderr == ""


def test_two_runs_at_once_do_not_meet(spec, tmp_path):
    both = [started("train", spec, "--runs", tmp_path / "runs") for _ in range(2)]
    assert [p.wait(300) for p in both] == [0, 0]
    assert len(list((tmp_path / "runs" / "tiny").iterdir())) == 2


def test_what_a_run_depends_on_is_written_down(spec, tmp_path):
    result = runner.run(load(spec), tmp_path / "runs").results[0]
    lock = json.loads((result.run.dir / "lock.json").read_text())
    assert {"dlx", "python", "platform", "threads", "commit", "spec_hash", "seed", "pid"} <= set(lock)
    assert lock["pid"] == os.getpid()
