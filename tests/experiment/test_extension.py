"""A finished run that is trained for longer has the bits of the longer training from the start."""

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.experiment.extension import extended
from dlx.spec import load

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 3, train: 96, valid: 32}}
network: {layers: [{linear: 8}, batch_norm, relu, {dropout: 0.2}, {linear: 3}]}
train: {batch_size: 16, epochs: 3, log_every: 1, evaluate_every: 6, save_every: 4, average: {ema: 0.9}}
track: {mlflow: false}
"""


PATIENT = ["++train.early_stopping={metric: valid/loss, patience: 50}"]


def trained(tmp_path, *changes):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return runner.run(load(path, changes), tmp_path / "runs").results[0].run


def curve(run):
    return [
        (one["record"], one["step"], one["metrics"])
        for one in run.records()
        if one["record"] in {"step", "evaluation"}
    ]


@pytest.mark.parametrize("save_every", [4, 18], ids=["from a state before the end", "from one at the end"])
@pytest.mark.parametrize("schedule", ["constant", "{step: {step_size: 2}}"])
def test_it_has_the_bits_of_the_longer_training(tmp_path, save_every, schedule):
    same = [f"train.save_every={save_every}", f"+train.schedule={schedule}"]
    short, whole = trained(tmp_path, *same), trained(tmp_path, *same, "train.epochs=5")
    longer = extended(short, ["train.epochs=5"], tmp_path / "runs")
    assert longer.lock()["continues"] == {"run": short.key, "step": 18 // save_every * save_every}
    _, ended = runner.resume(longer)
    assert (ended.results[0].status, ended.results[0].steps) == ("finished", 30)
    ours, theirs = (load_file(run.dir / "checkpoints" / "final.safetensors") for run in (longer, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert curve(longer) == curve(whole)
    # the broken twin: the short one is another
    assert not torch.equal(
        load_file(short.dir / "checkpoints" / "final.safetensors")["linear_1.weight"], ours["linear_1.weight"]
    )


@pytest.mark.parametrize(
    ("changes", "length", "message"),
    [
        (["+train.schedule=cosine"], "epochs=5", "the schedule `cosine` follows the length: at step 2 it has"),
        ([], "epochs=3", "has 18 steps, and 18 in all are asked for"),
        ([], "epochs=2", "has 18 steps, and 12 in all are asked for"),
        (["+train.keep_best=1"], "epochs=5", "keeps its best checkpoints"),
        (["train.average=swa"], "epochs=5", "the average `swa` of the weights follows the length"),
        (
            ["~train.evaluate_every", "++train.early_stopping={metric: valid/loss, patience: 50}", "train.epochs=30"],
            "epochs=300",
            "follows the evaluations",
        ),
        ([], "batch_size=8", "goes on with another length alone"),
        (
            ["+stages=[{name: a}]"],
            "epochs=5",
            "has stages, and a finished run that has some cannot be trained for longer",
        ),
    ],
)
def test_what_would_be_another_training_is_refused(tmp_path, changes, length, message):
    run = trained(tmp_path, *changes)
    with pytest.raises(DlxError, match=message):
        extended(run, [f"train.{length}"], tmp_path / "runs")
    assert len(list((tmp_path / "runs" / "s").iterdir())) == 1


def test_steps_in_place_of_epochs_and_the_command(tmp_path):
    run = trained(tmp_path)
    done = CliRunner().invoke(
        app, ["train", "--resume", str(run.dir), "train.steps=20", "--runs", str(tmp_path / "runs")]
    )
    assert done.exit_code == 0, done.output
    assert "from step 16 on" in done.output
    assert "trained 20 steps" in done.output
