"""Weights from elsewhere in ensembles, seeds and searches: each training starts from them. A file is read once."""

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from dlx.cli import app
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.sweeps import run as sweeps
from dlx.sweeps.plan import plan
from dlx.training import initial_weights

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 32}}
network: {layers: [{linear: 8, name: body}, relu, {linear: 4, name: head}]}
train: {batch_size: 16, steps: 4, optimizer: {sgd: 1e-20}}
track: {mlflow: false}
"""
TAKE = "+weights={from: FROM, skip: [head]}"


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def source(spec, tmp_path):
    """A run of another seed, from which the body is taken."""
    return runner.run(load(spec, ["++train.seed=9", "name=source"]), tmp_path / "runs").results[0].run


def bodies(runs):
    return [load_file(run.dir / "checkpoints" / "final.safetensors")["body.weight"] for run in runs]


def test_each_member_of_an_ensemble_starts_from_them(spec, source, tmp_path):
    (given,) = bodies([source])
    change = TAKE.replace("FROM", source.key)
    found = runner.run(load(spec, [change, "++train.ensemble=2"]), tmp_path / "runs")
    assert all(torch.equal(body, given) for body in bodies([one.run for one in found.results]))
    heads = [load_file(one.run.dir / "checkpoints/final.safetensors")["head.weight"] for one in found.results]
    assert not torch.equal(*heads)
    # the lock of each has the digest of its source, and members without weights are drawn by `init`
    digests = {one.run.lock()["weights"]["digest"] for one in found.results}
    assert digests == {source.read_json("checkpoints/final.json")["sha256"]}
    without = runner.run(load(spec, ["++train.ensemble=2"]), tmp_path / "runs")
    assert not any(torch.equal(body, given) for body in bodies([one.run for one in without.results]))


def test_each_trial_of_a_search_starts_from_them(spec, source, tmp_path):
    (given,) = bodies([source])
    runs = tmp_path / "runs"
    ran = CliRunner().invoke(
        app,
        [
            "sweep",
            str(spec),
            "train.batch_size=8,16",
            "train.seeds=2",
            "--runs",
            str(runs),
            TAKE.replace("FROM", source.key),
            "--json",
        ],
    )
    assert ran.exit_code == 0, ran.output
    trials = [RunFolder(folder) for folder in (runs / "s").glob("trial-*")]
    assert len(trials) == 4
    assert all(torch.equal(body, given) for body in bodies(trials))
    # the source is part of the study: another one is another study
    first = plan(spec, ["train.batch_size=8,16", TAKE.replace("FROM", source.key)], runs)
    other = plan(spec, ["train.batch_size=8,16"], runs)
    assert first.folder != other.folder
    untaken = sweeps.run(other, sweeps.SweepOptions()).study
    drawn = [RunFolder(runs / key) for trial in untaken.trials for key in trial.runs.values()]
    assert not any(torch.equal(body, given) for body in bodies(drawn))


def test_a_search_over_widths_refuses_those_that_the_weights_do_not_fit(spec, source, tmp_path):
    made = plan(spec, ["network.layers.body.out_features=8,5", TAKE.replace("FROM", source.key)], tmp_path / "runs")
    study = sweeps.run(made, sweeps.SweepOptions()).study
    assert [trial.point for trial in study.trials] == [{"network.layers.body.out_features": 8}]
    assert "`body/weight` has shape (5, 6), and `body.weight` of the source (8, 6)" in study.refused[0].reason


def test_the_flag_init_from_is_that_override(spec, source, tmp_path):
    (given,) = bodies([source])
    skip = "+weights.skip=[head]"
    asked = ["sweep", str(spec), "train.batch_size=8,16", skip, "--init-from", source.key, "--runs"]
    ran = CliRunner().invoke(app, [*asked, str(tmp_path / "runs"), "--json"])
    assert ran.exit_code == 0, ran.output
    trials = [RunFolder(folder) for folder in (tmp_path / "runs" / "s").glob("trial-*")]
    assert len(trials) == 2
    assert all(torch.equal(body, given) for body in bodies(trials))


def test_a_source_that_is_not_there_is_told_before_a_search(spec, tmp_path):
    with pytest.raises(SpecError, match=r"`weights\.from` names no file or folder `nowhere`"):
        plan(spec, ["train.batch_size=8,16", TAKE.replace("FROM", "nowhere")], tmp_path / "runs")


def test_a_source_that_is_not_there_is_told_with_the_other_mistakes(spec, tmp_path):
    broken = load(spec, [TAKE.replace("FROM", "nowhere"), "train.batch_size=0", "+train.optimiser=sgd"])
    with pytest.raises(SpecError) as told:
        runner.run(broken, tmp_path / "runs")
    paths = [one.path for one in told.value.problems]
    assert sorted(paths) == ["train.batch_size", "train.optimiser", "weights.from"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_file_of_torch_is_read_once(spec, tmp_path, monkeypatch, seeds):
    path = tmp_path / "w.pt"
    torch.save({"body.weight": torch.full((8, 6), 0.5), "body.bias": torch.zeros(8)}, path)
    read, original = [], initial_weights._state_dict
    monkeypatch.setattr(initial_weights, "_state_dict", lambda *a: (read.append(1), original(*a))[1])
    found = runner.run(load(spec, [TAKE.replace("FROM", str(path)), f"++train.seeds={seeds}"]), tmp_path / "runs")
    assert len(read) == seeds
    assert all(torch.equal(body, torch.full((8, 6), 0.5)) for body in bodies([one.run for one in found.results]))


def test_a_file_of_torch_that_has_changed_since_it_was_checked_is_read_anew(spec, tmp_path):
    path = tmp_path / "w.pt"
    experiment = load(spec, [TAKE.replace("FROM", str(path))])
    torch.save({"body.weight": torch.full((8, 6), 0.5), "body.bias": torch.zeros(8)}, path)
    graphs = trace_all(experiment)
    assert initial_weights.problems(experiment, graphs) == []
    torch.save({"body.weight": torch.full((8, 6), 0.25), "body.bias": torch.zeros(8), "more": torch.zeros(3)}, path)
    with pytest.raises(SpecError, match="nothing here takes"):
        initial_weights.load(experiment, graphs)
