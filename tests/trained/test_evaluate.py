"""`dlx evaluate`: a trained network on its data once more, on other data, and several together."""

import json
import subprocess
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.runs.lookup import find
from dlx.spec import load
from dlx.trained.evaluate import evaluate
from dlx.training.checkpoints.checkpoint import restore

SPEC = """\
name: s
data: {digits: {train: 120, valid: 60, test: 1100, standardize: channel}}
objective: {classification: {metrics: [perplexity]}}
network:
  layers: [{conv: {out_channels: 3, kernel_size: 3}}, batch_norm, relu, flatten, {dropout: 0.2}, {linear: 10}]
train: {epochs: 3, batch_size: 30, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "s.yaml").write_text(SPEC)
    return folder


def trained(home: Path, *changes: str) -> runner.Results:
    return runner.run(load(home / "s.yaml", changes), home / "runs")


@pytest.fixture(scope="module")
def run(home):
    return trained(home).results[0].run


@pytest.fixture(scope="module")
def other(home):
    return trained(home, "train.seed=1").results[0].run


def test_it_comes_to_the_figures_of_the_end_of_the_training_exactly(run):
    """The test part has more than one batch of an evaluation."""
    end = run.end()["metrics"]
    found = evaluate([run]).metrics

    assert len(found) == 8
    assert found == {name: value for name, value in end.items() if not name.startswith("train/")}


def test_it_does_so_with_averaged_weights_and_snapshots(home):
    results = trained(home, "+train.average.ema.decay=0.9", "+train.ensemble.snapshots=2",
                      "+train.schedule.cosine_restarts={T_0: 4, unit: step}").results[0]  # fmt: skip
    found = evaluate([results.run]).metrics

    assert found == {name: value for name, value in results.metrics.items() if not name.startswith("train/")}
    assert "test/ensemble_perplexity" in found


def test_parts_can_be_chosen(run):
    assert {name.split("/")[0] for name in evaluate([run], parts=["train"]).metrics} == {"train"}
    assert list(evaluate([run], parts=["test"]).metrics) == [
        f"test/{m}" for m in ("loss", "accuracy", "error", "perplexity")
    ]
    assert evaluate([run], parts=["train"]).metrics["train/accuracy"] == run.end()["metrics"]["train/accuracy"]


def test_several_runs_are_measured_alone_in_the_mean_and_together(run, other):
    found = evaluate([run, other], parts=["test"])
    test = load(run.dir / "spec.yaml").data.load().test
    with torch.inference_mode():
        p = torch.stack([restore(r.dir)[0](torch.from_numpy(test.x)).softmax(1) for r in (run, other)]).mean(0)
    y = torch.from_numpy(test.y)

    assert [one.metrics["test/loss"] for one in found.members] == [
        r.end()["metrics"]["test/loss"] for r in (run, other)
    ]
    assert found.metrics["test/loss"] == pytest.approx(sum(one.metrics["test/loss"] for one in found.members) / 2)
    assert found.metrics["test/ensemble_loss"] == pytest.approx(F.nll_loss(p.log(), y).item(), rel=1e-4)
    assert found.metrics["test/ensemble_error"] == pytest.approx((p.argmax(1) != y).float().mean().item())
    assert found.combine == "average"
    assert "test/ensemble_loss" not in evaluate([run, other], combine="vote").metrics


def test_the_run_of_an_ensemble_stands_for_its_members(home):
    results = trained(home, "+train.ensemble={members: 2, combine: vote}")
    found = evaluate([results.together.run])

    assert found.combine == "vote"
    assert {k: v for k, v in found.metrics.items() if "ensemble" in k} == results.together.metrics
    assert [one.run.key for one in found.members] == results.together.run.members()


def test_networks_on_data_of_their_own_preprocessing_answer_together(home, run):
    flat = trained(home, "data.digits.standardize=none", "+data.digits.preprocess=[{pca: 12}]",
                   "network.layers=[{linear: 10}]").results[0].run  # fmt: skip
    found = evaluate([run, flat], parts=["test"])
    assert found.members[1].metrics["test/loss"] == flat.end()["metrics"]["test/loss"]
    assert "test/ensemble_loss" in found.metrics


def test_other_data_goes_through_what_was_fitted_to_the_training_set(home, run):
    """Fewer training examples would have another mean; the statistics stay those of the run."""
    found = evaluate([run], parts=["test"], data=["train=50"]).metrics
    raw = load(home / "s.yaml", ["data.digits.train=50", "data.digits.standardize=none"]).data.load().test
    own = load(home / "s.yaml", ["data.digits.standardize=none"]).data.load().train
    x = (raw.x - own.x.mean(dtype=np.float64)) / own.x.std(dtype=np.float64)
    with torch.inference_mode():
        output = restore(run.dir)[0](torch.from_numpy(x.astype(np.float32)))

    assert found["test/loss"] == pytest.approx(F.cross_entropy(output, torch.from_numpy(raw.y)).item(), rel=1e-5)


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(*args, **options) -> str:
    with pytest.raises(DlxError) as error:
        evaluate(*args, **options)
    return str(error.value)


def test_what_is_not_there_is_said(run):
    assert f"{run.key} has no checkpoint `finale`\n  Did you mean `final`?" in refused([run], name="finale")
    assert f"the data of {run.key} has no part `tets`\n  Did you mean `test`?" in refused([run], parts=["tets"])
    assert "`digits` has no field `tst`\n  Did you mean `test`?" in refused([run], data=["tst=3"])
    assert "`--data test` says no value\n  Write `--data test=VALUE`." in refused([run], data=["test"])


def test_networks_for_two_things_do_not_answer_together(home, run):
    hinge = trained(home, "++objective.classification={loss: hinge}").results[0].run
    message = refused([run, hinge])
    assert "2 runs answer together where they were trained for one thing" in message
    assert f"{run.key} classification with cross_entropy and {hinge.key} classification with hinge" in message


def test_networks_on_two_splits_do_not_answer_together(home, run):
    split = trained(home, "+data.digits.seed=4").results[0].run
    assert "networks can only answer together about the same examples, and theirs differ" in refused([run, split])


def test_data_that_has_changed_is_not_taken_for_the_old(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(60) % 3)
    (tmp_path / "s.yaml").write_text(
        "data: {arrays: {path: a.npz, test: 20}}\nnetwork: {layers: [{linear: 3}]}\n"
        "train: {epochs: 2}\ntrack: {mlflow: false}\n"
    )
    run = trained(tmp_path).results[0].run
    np.savez(tmp_path / "a.npz", x=x + 1, y=np.arange(60) % 3)
    assert f"the data of {run.key} has changed: its digest was" in refused([run])

    np.savez(tmp_path / "b.npz", x=x, y=np.arange(60) % 3)
    assert (
        evaluate([run], data=[f"path={tmp_path / 'b.npz'}"]).metrics["test/loss"] == run.end()["metrics"]["test/loss"]
    )
    np.savez(tmp_path / "b.npz", x=x[:, :4], y=np.arange(60) % 3)
    message = refused([run], data=[f"path={tmp_path / 'b.npz'}"])
    assert f"the data given has inputs of shape (4,), and {run.key} was trained on (5,)" in message


# --- the command ----------------------------------------------------------------------------------------------------


def dlx(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return commands.dlx(*argv, cwd=cwd)


def test_the_command_prints_one_and_several_and_json(home, run, other):
    one = dlx("evaluate", run.id, "--part", "test", cwd=home)
    assert one.returncode == 0, one.stderr
    assert one.stdout.splitlines()[0].split() == ["test/loss", f"{run.end()['metrics']['test/loss']:.4g}"]

    two = dlx("evaluate", run.id, other.id, "--combine", "vote", cwd=home).stdout.splitlines()
    assert [line.split()[0] for line in two[1:]] == [run.key, other.key, "mean", "vote"]

    document = json.loads(dlx("evaluate", run.id, other.id, "--json", cwd=home).stdout)
    assert list(document) == ["metrics", "combine", "data", "members", "notes"]
    assert [m["run"] for m in document["members"]] == [run.key, other.key]
    assert list(document["members"][0]) == ["run", "dir", "checkpoint", "metrics"]

    wrong = dlx("evaluate", run.id, "--checkpoint", "best", "--json", cwd=home)
    assert wrong.returncode == 2
    assert json.loads(wrong.stdout)["errors"][0]["message"] == f"{run.key} has no checkpoint `best`"


def test_last_is_the_ensemble_and_not_its_last_member(home):
    results = trained(home, "+train.ensemble=2")
    assert find("last", home / "runs").key == results.together.run.key


def test_a_class_that_a_part_lacks_is_left_out_and_said_at_the_end_and_anew(tmp_path, capfd):
    (tmp_path / "t.csv").write_text(
        "x,y,k\n" + "\n".join(f"{i % 3},{i % 3 == 1:d},{'abc'[i % 3]}" for i in range(60))
    )
    (tmp_path / "u.csv").write_text("x,y,k\n" + "\n".join(f"{i % 2},{i % 2},{'ab'[i % 2]}" for i in range(20)))
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "data: {table: {path: t.csv, target: k, test_path: u.csv}}\n"
        "network: {layers: [{linear: 3}]}\n"
        "objective: {classification: {metrics: [auroc, recall]}}\n"
        "train: {epochs: 30, batch_size: 8, optimizer: {adam: 0.1}}\ntrack: {mlflow: false}\n"
    )
    (result,) = runner.run(load(spec), tmp_path / "runs").results
    sentence = "test/auroc, test/recall: without class c, of which there is no target"
    again = evaluate([result.run])

    assert (result.metrics["test/auroc"], result.metrics["test/accuracy"]) == (1, 1)
    assert result.notes == (sentence,) == again.notes
    assert again.metrics == {k: v for k, v in result.metrics.items() if k.startswith("test/")}
    assert again.as_json()["notes"] == [sentence]
    assert "torchmetrics" not in capfd.readouterr().err
