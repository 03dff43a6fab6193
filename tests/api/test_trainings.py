"""Trainings from Python: the run of a training, the bits of the command line, and what a caller keeps."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import commands
import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

import dlx
from dlx.cli import main as _cli  # noqa: F401 - the command line is imported beside the API in one process

SPEC = """\
name: s
data: {digits: {train: 120, valid: 60, test: 60}}
network: {layers: [{conv: {out_channels: 3, kernel_size: 3}}, relu, flatten, {dropout: 0.2}, {linear: 10}]}
train: {epochs: 2, batch_size: 30, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""
WEIGHTS = 3 * (9 + 1) + 10 * (3 * 36 + 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    (folder / "s.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def run(home) -> dlx.Run:
    return dlx.train(home / "s.yaml", runs=home / "runs", quiet=True)


def dlx_command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return commands.dlx(*words, cwd=cwd, check=True)


def files_of(run: Path) -> dict[str, object]:
    """The files of a run without times, process and command."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    records = [{k: v for k, v in line.items() if k not in {"time", "seconds"}} for line in lines]
    lock = json.loads((run / "lock.json").read_text())
    lock = {k: v for k, v in lock.items() if k not in {"pid", "command", "milliseconds_by_threads", "way"}}
    weights = {path.name: path.read_bytes() for path in (run / "checkpoints").glob("final.*")}
    texts = {name: (run / name).read_bytes() for name in ("spec.yaml", "plan.json", "inputs.safetensors")}
    return {"records": records, "lock": lock, **weights, **texts}


def test_a_training_leaves_the_run_folder_of_the_command_line_to_the_last_bit(run, home):
    output = dlx_command("train", home / "s.yaml", "--runs", home / "runs", "--json", cwd=Path.cwd())
    other = json.loads(output.stdout)

    ours, theirs = files_of(run.folder), files_of(Path(other["dir"]))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert run.result == other["metrics"]


def test_a_run_has_its_figures_spec_weights_and_model(run):
    x = torch.zeros(4, 1, 8, 8)

    assert (run.status, run.seed, run.message, run.spec.name) == ("finished", 0, "", "s")
    assert set(run.result) == {
        f"{part}/{name}" for part in ("train", "valid", "test") for name in ("loss", "accuracy", "error")
    }
    assert sum(tensor.numel() for tensor in run.weights.values()) == WEIGHTS
    assert run.model(x).shape == (4, 10)
    assert not run.model.training
    assert run.model is run.model
    assert run.runs == (run,)
    assert run.intervals == {}
    assert run.lock["data"]["train"] == 120
    assert "final" in run.checkpoints


def test_the_metrics_are_a_frame_with_a_row_for_each_step(run):
    """Two epochs of 120 examples in batches of 30: 8 updates, an evaluation after each fourth."""
    frame = run.metrics

    assert frame.index.name == "step"
    assert list(frame.index) == list(range(1, 9))
    assert list(frame["epoch"]) == [1] * 4 + [2] * 4
    assert list(frame["valid/loss"].dropna().index) == [4, 8]
    assert frame["valid/loss"][8] == run.result["valid/loss"]
    assert frame["train/running_loss"].notna().all()
    assert (frame["seconds"] >= 0).all()
    assert frame["seconds"].is_monotonic_increasing


def test_a_run_that_is_opened_is_the_run_that_was_trained(run, home):
    for name in (run.folder, str(run.folder), run.key):
        again = dlx.open_run(name, runs=home / "runs")
        assert again.result == run.result
        assert_frame_equal(again.metrics, run.metrics)
        assert all(torch.equal(again.weights[key], run.weights[key]) for key in run.weights)
    assert dlx.open_run(run) == run
    with pytest.raises(dlx.DlxError, match="there is no run `nowhere`"):
        dlx.open_run("nowhere", runs=home / "runs")


def test_progress_goes_to_stderr_and_nothing_to_stdout(home, capsys):
    dlx.train(home / "s.yaml", runs=home / "runs")
    shown = capsys.readouterr()
    dlx.train(home / "s.yaml", runs=home / "runs", quiet=True)

    assert shown.out == ""
    assert shown.err.startswith(f"s: {WEIGHTS:,} parameters, 8 steps on cpu")
    assert "\r" not in shown.err
    assert capsys.readouterr() == ("", "")


def test_several_seeds_are_one_run_of_means_and_a_run_each(home):
    both = dlx.train(home / "s.yaml", {"train.seeds": 2}, runs=home / "runs", quiet=True)
    each = [run.result["test/loss"] for run in both.runs]

    assert [run.seed for run in both.runs] == [0, 1]
    assert both.result["test/loss"] == pytest.approx(sum(each) / 2)
    assert both.intervals["test/loss"] == pytest.approx(12.706204736 * abs(each[0] - each[1]) / 2)  # t of 1 degree
    assert both.metrics.index.names == ["seed", "step"]
    assert_frame_equal(both.metrics.loc[1], both.runs[1].metrics)
    assert (both.status, both.seed, both.key) == ("finished", None, "s (2 seeds)")
    with pytest.raises(dlx.DlxError, match="2 seeds were trained, each with model of its own") as raised:
        _ = both.model
    assert raised.value.problems[0].hint.startswith("`run.runs[0].model` is that of the first")
    with pytest.raises(dlx.DlxError, match="each with folder of its own"):
        _ = both.folder
    assert "± 95 %" in both._repr_html_()


def test_an_ensemble_is_a_run_whose_runs_are_its_members(home):
    run = dlx.train(home / "s.yaml", {"+train.ensemble": {"members": 2}}, runs=home / "runs", quiet=True)

    assert len(run.runs) == 2
    assert {"test/loss", "test/ensemble_loss"} <= run.result.keys()
    assert dlx.open_run(run.folder).runs == run.runs
    with pytest.raises(dlx.DlxError, match="is an ensemble of 2 networks, each with weights of its own"):
        _ = run.weights
    assert run.runs[1].model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_a_training_that_fails_is_an_error_and_leaves_its_folder(home):
    rate = ["train.optimizer={sgd: {lr: 1e38, momentum: 0.9}}"]
    with pytest.raises(dlx.RunError, match="loss"):
        dlx.train(home / "s.yaml", rate, runs=home / "failed", quiet=True)
    run = dlx.open_run("last", runs=home / "failed")

    assert run.status == "failed"
    assert run.message
    with pytest.raises(dlx.DlxError, match="no checkpoint"):
        _ = run.model
    assert len(run.metrics) < 8


def test_a_run_before_its_first_checkpoint_says_why_it_has_no_model(tmp_path):
    folder = tmp_path / "s" / "20261121-053012-3fa9"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "lock.json").write_text('{"pid": null}')
    run = dlx.open_run(folder)

    assert (run.status, run.result, len(run.metrics)) == ("died", {}, 0)
    with pytest.raises(dlx.DlxError, match="s/20261121-053012-3fa9 was killed before its first checkpoint"):
        run.load_weights()


def test_a_checkpoint_that_is_not_there_is_reported_with_those_that_are(run):
    with pytest.raises(dlx.DlxError, match="has no checkpoint `finall`") as raised:
        run.load_model("finall")
    assert raised.value.problems[0].hint == "Did you mean `final`?"


def test_the_model_needs_no_data(home, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x.sum(1) > 0).astype(int))
    spec = {
        "data": {"arrays": {"path": str(tmp_path / "d.npz"), "valid": 0.2}},
        "network": {"layers": [{"linear": 2}]},
        "train": {"steps": 3},
        "track": {"mlflow": False},
    }
    run = dlx.train(spec, runs=home / "runs", quiet=True)
    (tmp_path / "d.npz").unlink()

    assert run.key.startswith("dict/")
    assert dlx.open_run(run.folder).model(torch.zeros(5, 3)).shape == (5, 2)


def test_claims_that_do_not_hold_are_warned_of_and_are_receipts(home):
    claims = "expect: {params: 7, test/loss: {at_most: 1000}}\n"
    with pytest.warns(dlx.DlxWarning, match="claims params 7, and it is 1,120") as caught:
        run = dlx.train(SPEC + claims, runs=home / "runs", quiet=True)

    assert [one.filename for one in caught] == [__file__]
    assert list(run.receipts["verdict"]) == ["FAILS", "holds"]
    assert run.receipts.loc["params", "ours"] == WEIGHTS
    for spec, overrides in ((SPEC + claims, ["train.epochs=1"]), (dlx.load(SPEC + claims, ["train.epochs=1"]), [])):
        with pytest.warns(dlx.DlxWarning, match="1 claim is of the spec as written, and does not hold") as caught:
            dlx.train(spec, overrides, runs=home / "runs", quiet=True)  # claims are about the spec as it is written
        assert len(caught) == 1


def test_the_folder_of_a_run_is_a_spec_and_the_same_manner(run, home):
    again = dlx.train(run.folder, runs=home / "runs", quiet=True)

    assert again.folder != run.folder
    assert again.result == run.result


def test_a_finished_run_is_not_resumed(run):
    with pytest.raises(dlx.DlxError, match="has finished"):
        dlx.resume(run)


SCRIPT = """\
import dlx, os, signal
from contextlib import contextmanager
from dlx.api import trainings

@contextmanager
def interrupting(quiet):
    yield lambda event: os.kill(os.getpid(), signal.SIGINT) if getattr(event, "step", 0) == 40 else None

print("once")
trainings.progress = interrupting
try:
    dlx.train("s.yaml", ["train.epochs=20"], runs="stopped")
except KeyboardInterrupt as error:
    print(error, *error.__notes__, sep="\\n")
"""
"""Ctrl-C comes at the 40th of 80 steps."""


def test_ctrl_c_in_a_script_leaves_a_run_that_goes_on_to_the_same_bits(home):
    """The script has no guard: nothing imports it again."""
    (home / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=home)
    stopped = dlx.open_run("last", runs=home / "stopped")
    step = stopped.metrics.index[-1]
    whole = dlx.train(home / "s.yaml", ["train.epochs=20"], runs=home / "runs", quiet=True)

    assert (done.returncode, done.stderr) == (0, "")
    once, sentence, note = done.stdout.splitlines()
    assert (once, stopped.status) == ("once", "stopped")
    assert sentence.startswith(f"{stopped.key} was stopped at step ")
    assert note == f"dlx.resume('stopped/{stopped.key}') goes on."
    assert step <= 40
    went_on = dlx.resume(stopped, quiet=True)
    assert went_on.result == whole.result
    assert all(torch.equal(went_on.weights[name], value) for name, value in whole.weights.items())


def test_a_caller_keeps_its_generators_modes_and_dtype(home, run):
    torch.manual_seed(3)
    np.random.seed(3)
    before, numbers, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            again = dlx.train(home / "s.yaml", runs=home / "runs", quiet=True)
            assert torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)

    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numbers).all()
    assert torch.get_num_threads() == threads
    assert files_of(again.folder)["final.safetensors"] == files_of(run.folder)["final.safetensors"]


def test_trainings_of_several_threads_take_turns_and_come_to_the_same_bits(home, run):
    found: list[dlx.Run] = []

    def work() -> None:
        found.append(dlx.train(home / "s.yaml", runs=home / "runs", quiet=True))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one.result for one in found] == [run.result] * 3
    assert len({one.folder for one in found}) == 3


@pytest.mark.slow
def test_a_script_with_a_sweep_in_two_processes_needs_no_guard(home):
    (home / "search.py").write_text(
        "import dlx\nprint('once')\n"
        "found = dlx.sweep('s.yaml', ['train.batch_size=20,30'], jobs=2, runs='runs', quiet=True)\n"
        "print(len(found.leaderboard))\n"
    )
    done = subprocess.run([sys.executable, "search.py"], capture_output=True, text=True, cwd=home)

    assert (done.returncode, done.stdout) == (0, "once\n2\n"), done.stderr


def test_a_run_in_a_line_and_as_html_that_is_escaped(run, home):
    assert repr(run).startswith(f"<dlx.Run {run.key}: finished, valid/loss ")
    page = run._repr_html_()
    assert f"<b>{run.key} (finished)</b>" in page
    assert f"{run.result['test/loss']:.4g}" in page
    assert isinstance(run.metrics, pd.DataFrame)


def test_a_run_of_an_earlier_version_is_read_with_the_names_of_today(tmp_path):
    """Before 2026-11-28 points of the curve called the running loss `train/loss`."""
    folder = tmp_path / "s" / "20261121-053012-3fa9"
    folder.mkdir(parents=True)
    step = {"record": "step", "time": 12.5, "step": 1, "epoch": 1, "metrics": {"train/loss": 0.5, "lr": 0.1}}
    evaluation = {"record": "evaluation", "time": 13.0, "step": 1, "epoch": 1, "metrics": {"valid/loss": 0.25}}
    records = [{"record": "start", "time": 12.0}, step, evaluation]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))

    (row,) = dlx.open_run(folder).metrics.to_dict("records")
    assert row == {"epoch": 1, "seconds": 0.5, "train/running_loss": 0.5, "lr": 0.1, "valid/loss": 0.25}
