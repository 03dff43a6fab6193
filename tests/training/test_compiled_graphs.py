"""`compile: true` with recurrent layers: compiled and counted, or said not to be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlx.layers import LAYERS
from dlx.shapes import Shape
from dlx.training.compiled_graphs import recurrent_allowed, recurrent_layers

SPEC = """
name: c
data: {{synthetic: {{shape: [5, 4], classes: 3, train: 32, valid: 16, test: null, seed: 1}}}}
network: {{layers: [{{{layer}: {{hidden_size: 6, return_sequences: false}}}}, {{linear: 3}}]}}
train: {{epochs: 2, batch_size: 16, device: cpu, compile: {on}}}
track: {{mlflow: false}}
"""
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


def module(kind):
    return torch.nn.Sequential(LAYERS[kind](hidden_size=3).module(Shape((5, 4))), torch.nn.Linear(3, 2))


@needs_compiler
def test_a_network_that_torch_leaves_as_it_is_says_so(tmp_path):
    path = tmp_path / "lstm.yaml"
    path.write_text(SPEC.format(layer="lstm", on="true"))
    command = [sys.executable, "-m", "dlx", "train", str(path), "--runs", str(tmp_path / "runs")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    said = " ".join((ran.stdout + ran.stderr).split())
    note = "`compile: true` is of no use here: torch compiles no lstm on a CPU, and nothing beside it."
    assert note in said
    assert ", compiled" not in said
    (lock,) = (tmp_path / "runs").rglob("lock.json")
    assert json.loads(lock.read_text())["compute"]["compiled_graphs"] == 0


def test_recurrent_layers_are_compiled_where_torch_can_run_them():
    import torch._dynamo

    assert recurrent_layers(module("gru")) == ["gru"]
    assert recurrent_layers(torch.nn.Linear(2, 2)) == []
    for kind, allowed in (("gru", True), ("rnn", True), ("lstm", False)):
        with recurrent_allowed(module(kind), torch.device("cpu")):
            assert torch._dynamo.config.allow_rnn is allowed
        assert torch._dynamo.config.allow_rnn is False


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("layer", ["gru", "rnn"])
def test_a_compiled_recurrent_network_is_one_graph_and_gives_the_numbers_of_the_other(tmp_path, layer):
    ran = {}
    for on in ("true", "false"):
        path = tmp_path / f"{on}.yaml"
        path.write_text(SPEC.format(layer=layer, on=on))
        command = [sys.executable, "-m", "dlx", "train", str(path), "--runs", str(tmp_path / on), "--json"]
        ran[on] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    lock = json.loads((Path(ran["true"]["dir"]) / "lock.json").read_text())
    assert lock["compute"]["compiled_graphs"] == 1
    assert ran["true"]["metrics"] == pytest.approx(ran["false"]["metrics"], rel=1e-3)
