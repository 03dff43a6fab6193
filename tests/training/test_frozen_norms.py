"""Freezing a batch norm holds its scale and shift; its running statistics follow the batches, and that is said."""

import pytest
import torch
from helpers import experiment_of
from typer.testing import CliRunner

from dlx.cli import app
from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.training.checkpoints.checkpoint import restore

SPEC = """\
name: frozen
data: {synthetic: {shape: [5], classes: 3, train: 70, valid: 20}}
network: {layers: [{linear: 8}, NORM, {linear: 3}]}
freeze: [PATTERN]
train: {steps: 6, batch_size: 16}
track: {mlflow: false}
"""
MESSAGE = "it holds the scale and shift of `{0}_1`, and the running statistics follow the batches all the same"


def spec(norm="batch_norm", pattern="'*_norm_1'"):
    return SPEC.replace("NORM", norm).replace("PATTERN", pattern)


@pytest.mark.parametrize("norm", ["batch_norm", "book_batch_norm", "ghost_batch_norm", "batch_renorm"])
def test_it_is_reported_which_frozen_norms_have_statistics_that_move(norm):
    (warning,) = trace(experiment_of(spec(norm, f"{norm}_1"))).warnings
    assert warning.message == MESSAGE.format(norm)
    assert warning.hint == "`{match: ..., mode: eval}` in `freeze` holds them, too."
    assert warning.mark.line == 4


@pytest.mark.parametrize(("norm", "pattern"), [("layer_norm", "layer_norm_1"), ("batch_norm", "linear_1")])
def test_nothing_is_reported_where_none_moves(norm, pattern):
    assert trace(experiment_of(spec(norm, pattern))).warnings == ()


def test_its_statistics_move_and_its_weights_do_not(tmp_path):
    found = experiments.run(experiment_of(spec()), tmp_path)
    network, _ = restore(found.results[0].run.dir)
    norm = network.batch_norm_1
    assert torch.equal(norm.weight, torch.ones(8))
    assert torch.equal(norm.bias, torch.zeros(8))
    assert int(norm.num_batches_tracked) == 6
    assert not torch.equal(norm.running_mean, torch.zeros(8))


def test_a_frozen_batch_norm_keeps_its_statistics(tmp_path):
    found = experiments.run(experiment_of(spec("frozen_batch_norm", "linear_1")), tmp_path)
    norm = restore(found.results[0].run.dir)[0].frozen_batch_norm_1
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert torch.equal(norm.running_var, torch.ones(8))


@pytest.mark.parametrize("command", ["inspect", "train"])
def test_commands_tell_it(tmp_path, command):
    path = tmp_path / "frozen.yaml"
    path.write_text(spec())
    more = ["--runs", str(tmp_path)] if command == "train" else []
    shown = CliRunner().invoke(app, [command, str(path), *more])
    assert shown.exit_code == 0
    assert MESSAGE.format("batch_norm") in " ".join(shown.output.split())
