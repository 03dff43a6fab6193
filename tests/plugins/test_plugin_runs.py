"""Runs with plugins: the bits of a built-in layer, the copy that a run keeps, and all that goes on from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from plugin_files import HEAD, dlx, write
from safetensors.torch import load_file

from dlx import plugins
from dlx.runs.lookup import all_runs

DENSE = (
    HEAD
    + '''class Dense(Layer):
    """An affine map of the features."""

    kind: ClassVar[str] = "dense"
    learns: ClassVar[bool] = True
    out_features: int

    def plan(self, x):
        weights = {"weight": (self.out_features, x[0]), "bias": (self.out_features,)}
        return Plan((self.out_features,), weights, macs=x[0] * self.out_features, window="global")

    def module(self, x):
        return nn.Linear(x[0], self.out_features)
'''
)
SPEC = """name: net
{plugins}data: {{digits: {{train: 200, valid: 0.2}}}}
network:
  layers:
    - flatten
    - {{{kind}: 16, name: hidden}}
    - relu
    - {{linear: 10, name: head}}
train: {{epochs: 3, batch_size: 20, save_every: 10, optimizer: {{adam: 1e-2}}}}
track: {{mlflow: false}}
"""


@pytest.fixture(autouse=True)
def _leave_no_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        own__dense=DENSE,
        own__s_yaml=SPEC.format(plugins="plugins: [dense.py]\n", kind="dense"),
        dlx__s_yaml=SPEC.format(plugins="", kind="linear"),
    )
    yield
    plugins.use(())


def weights(runs: Path) -> list[dict[str, torch.Tensor]]:
    """The final weights of all runs of a folder, in the order of their seeds."""
    found = sorted(all_runs(runs), key=lambda run: run.lock()["seed"])
    return [load_file(run.dir / "checkpoints" / "final.safetensors") for run in found]


def assert_same_bits(*words: str) -> None:
    """A command comes to the same weights with the layer of the plugin and with dlx's own."""
    for whose in ("own", "dlx"):
        status, out, err = dlx(words[0], f"{whose}/s.yaml", *words[1:], "--runs", f"runs-{whose}", "--json")
        assert status == 0, out + err
    own, built_in = weights(Path("runs-own")), weights(Path("runs-dlx"))
    assert len(own) == len(built_in) > 0
    for a, b in zip(own, built_in, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_layer_of_a_plugin_trains_to_the_bits_of_the_same_layer_of_dlx():
    assert_same_bits("train")


def test_seeds_that_are_packed_come_to_the_same_bits():
    assert_same_bits("train", "train.seeds=3")
    assert all(run.lock()["packed"] for run in all_runs("runs-own"))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_trials_of_a_sweep_come_to_the_same_bits(jobs):
    for whose in ("own", "dlx"):
        words = ("train.optimizer.adam.lr=1e-2,1e-3", "--jobs", jobs, "--runs", f"runs-{whose}", "--json")
        status, out, err = dlx("sweep", f"{whose}/s.yaml", *words)
        assert status == 0, out + err
    found = {}
    for whose in ("own", "dlx"):
        trials = list(Path(f"runs-{whose}/net").glob("trial-*"))
        copies = [trial / "plugins" / "dense.py" for trial in trials]
        assert [path.read_text() for path in copies if path.exists()] == ([DENSE] * 2 if whose == "own" else [])
        weights = [load_file(trial / "checkpoints" / "final.safetensors") for trial in trials]
        found[whose] = sorted(weights, key=lambda tensors: float(tensors["hidden.bias"][0]))
    assert len(found["own"]) == len(found["dlx"]) == 2
    for a, b in zip(found["own"], found["dlx"], strict=True):
        assert all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("train.seeds=2",)])
def test_a_training_that_is_killed_goes_on_with_the_copy_to_the_same_bits(more):
    status, out, err = dlx("prove-resume", "own/s.yaml", *more, "--kills", "2", "--json")
    assert status == 0, out + err
    assert json.loads(out)["equal"]


# --- the copy -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> Path:
    """The folder of a finished run whose plugin is gone."""
    status, out, err = dlx("train", "own/s.yaml", "--json")
    assert status == 0, out + err
    shutil.rmtree("own")
    (found,) = all_runs("runs")
    return found.dir


def test_a_run_goes_on_being_used_when_its_plugin_is_gone(run):
    lock = json.loads((run / "lock.json").read_text())
    (plugin,) = json.loads((run / "plan.json").read_text())["plugins"]
    assert lock["plugins"] == {"dense.py": plugin["sha256"]}
    assert (run / "plugins" / "dense.py").read_text() == DENSE
    assert "file: plugins/dense.py" in (run / "spec.yaml").read_text()
    for words in (("evaluate", "last"), ("inspect", run / "spec.yaml"), ("train", run)):
        status, out, err = dlx(*words, "--json")
        assert status == 0, out + err
    status, out, err = dlx("reproduce", run, "--json")
    assert json.loads(out)["verdict"] == "bitwise equal", out + err
    status, out, err = dlx("evaluate", run)
    assert err.startswith(f"runs the code of {run}/plugins/dense.py (plugins, {run}/spec.yaml:")


@pytest.mark.parametrize("command", [("evaluate",), ("reproduce",), ("train", "--resume"), ("train",)])
def test_a_copy_that_was_changed_is_refused_before_it_runs(run, command):
    copy = run / "plugins" / "dense.py"
    copy.write_text("print('it ran')\n" + copy.read_text())
    status, out, err = dlx(*command, run)
    assert status == 2
    assert "the plugin dense.py has changed: its digest was" in err
    assert "Bring the old file back, or train anew." in err
    assert "it ran" not in out + err


def test_a_resumed_run_takes_no_plugins(run):
    status, _, err = dlx("train", "--resume", run, "--plugin", "other.py")
    assert status == 2
    assert "and goes on with another length alone: train.epochs=N or train.steps=N" in err


def test_members_of_an_ensemble_have_a_copy_each():
    status, out, err = dlx("train", "own/s.yaml", "+train.ensemble={members: 2}", "--json")
    assert status == 0, out + err
    assert [(one.dir / "plugins/dense.py").read_text() for one in all_runs("runs")] == [DENSE] * 3
    shutil.rmtree("own")
    status, out, err = dlx("evaluate", "last", "--json")
    assert status == 0, out + err
