"""Ctrl-C in a training: it halts after the updates on their way, and goes on from that step to the same bits."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from dlx.experiment import runner
from dlx.experiment.recorder import TrainingStarted
from dlx.runs.folder import RunFolder
from dlx.spec import load

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 32}}
network: {layers: [{linear: 8}, batch_norm, relu, {dropout: 0.2}, {linear: 4}]}
train: {batch_size: 16, steps: 20, log_every: 1, evaluate_every: 6, save_every: 1000, optimizer: {adam: 1e-2}}
track: {mlflow: false}
"""
STAGES = "stages: [{name: first, train: {steps: 9}}, {name: second, freeze: [linear_1], train: {steps: 8}}]\n"


@pytest.fixture(autouse=True)
def terminal():
    """The handler that a terminal's programs have: those started in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pressing(step, stage="", times=1):
    """A callback that presses Ctrl-C at the record of a step."""
    seen, times = [], [times]

    def callback(event):
        seen.extend([event.stage] if isinstance(event, TrainingStarted) else [])
        if getattr(event, "record", "") == "step" and event.step == step and stage in ("", seen[-1]) and times:
            for _ in range(times.pop()):
                os.kill(os.getpid(), signal.SIGINT)

    return callback


def written(tmp_path, more=""):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC + more)
    return path


def final(run, stage=""):
    return load_file(run.dir / "checkpoints" / stage / "final.safetensors")


def curve(run):
    kept = ("record", "step", "epoch", "stage", "metrics")
    return [{key: one.get(key) for key in kept} for one in run.records() if one["record"] not in {"start", "end"}]


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(("more", "stage"), [("", ""), (STAGES, "first"), (STAGES, "second")])
def test_it_goes_on_from_the_step_at_which_it_was_stopped(tmp_path, more, stage, seeds):
    changes = [f"++train.seeds={seeds}"]
    whole = runner.run(load(written(tmp_path, more), changes), tmp_path / "whole").results
    stopped = runner.run(load(written(tmp_path, more), changes), tmp_path / "runs", pressing(5, stage)).results
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert [(one.status, one.notes) for one in stopped] == [("stopped", ())] * seeds
    for one, result in zip(whole, stopped, strict=True):
        run, begun = RunFolder(result.run.dir), []
        halted = run.end()["step"]
        assert halted == result.steps
        # `save_every` has saved no state on the way: without that of the halt it would begin anew
        _, ended = runner.resume(
            run, lambda e, begun=begun: begun.append(e) if isinstance(e, TrainingStarted) else None
        )
        assert begun[0].step == halted - (9 if stage == "second" else 0) > 0
        assert ended.results[0].status == "finished"
        assert curve(run) == curve(one.run)
        for name in {"", stage} - ({stage} if stage == "second" else set()):
            ours, theirs = final(one.run, name), final(run, name)
            assert all(torch.equal(ours[tensor], theirs[tensor]) for tensor in ours)


def test_the_second_one_ends_it_at_once_and_it_goes_on_from_its_last_state(tmp_path):
    whole = runner.run(load(written(tmp_path)), tmp_path / "whole").results[0]
    changes = ["train.save_every=2"]
    (stopped,) = runner.run(load(written(tmp_path), changes), tmp_path / "runs", pressing(5, times=2)).results
    assert stopped.status == "stopped"
    run = RunFolder(stopped.run.dir)
    assert max(run.dir.glob("checkpoints/step-*.json")).stem == "step-000000004"
    runner.resume(run)
    ours, theirs = final(whole.run), final(run)
    assert all(torch.equal(ours[tensor], theirs[tensor]) for tensor in ours)


@pytest.mark.parametrize("seeds", [1, 2])
def test_after_the_last_update_of_a_stage_the_next_one_does_not_start(tmp_path, seeds):
    changes = [f"++train.seeds={seeds}"]
    ended = runner.run(load(written(tmp_path, STAGES), changes), tmp_path / "runs", pressing(9, "first")).results
    assert [one.status for one in ended] == ["stopped"] * seeds
    # side by side, the run whose last update it came after is between two stages; the other is in the first one
    last = max(ended, key=lambda one: one.steps)
    assert last.steps == 9
    run, started = last.run, []
    assert (run.dir / "checkpoints" / "first" / "final.json").exists()
    runner.resume(RunFolder(run.dir), started.append)
    assert [one.stage for one in started if isinstance(one, TrainingStarted)] == ["second"]


def test_after_the_last_update_of_all_no_other_training_starts(tmp_path):
    changes = ["++train.seeds=2", "++train.trace=false"]
    with pytest.raises(KeyboardInterrupt):
        runner.run(load(written(tmp_path), changes), tmp_path / "runs", pressing(20))
    ends = [RunFolder(folder).end() for folder in (tmp_path / "runs" / "s").iterdir()]
    assert sorted(end["status"] if end else "none" for end in ends) in (["finished"], ["finished", "none"])
