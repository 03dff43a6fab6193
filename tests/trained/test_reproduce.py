"""`dlx reproduce`: the same again from a run folder, and where it is not the same."""

import json

import pytest
import torch

from dlx import cli
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.trained.reproduce import compare_runs, prepare_copy, reproduce
from dlx.training.checkpoints import checkpoint

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 6, 6], classes: 4, train: 160, valid: 40, test: 40}}
network:
  layers: [{conv: {out_channels: 3, kernel_size: 3}}, batch_norm, relu, {dropout: 0.3}, flatten, {linear: 4}]
train: {epochs: 4, batch_size: 32, optimizer: {sgd: 0.1}, log_every: 1}
track: {mlflow: false}
"""


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A finished run."""
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return runner.run(load(path), tmp_path / "runs").results[0].run


def edited(run: RunFolder, name: str, old: str, new: str) -> None:
    text = (run.dir / name).read_text()
    assert old in text
    (run.dir / name).write_text(text.replace(old, new))


def command(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status of a command, and what it says."""
    try:
        status = cli.app([str(word) for word in arguments], standalone_mode=False) or 0
    except SystemExit as end:
        status = end.code
    output = capsys.readouterr()
    return status, output.out, output.err


def test_the_same_run_gives_the_same_bits_in_a_new_folder(run, capsys):
    status, out, _ = command(capsys, "reproduce", run.dir, "--runs", run.root)

    (new,) = (folder for folder in run.dir.parent.iterdir() if folder != run.dir)
    assert (status, out) == (0, f"bitwise equal\nrun     {new}\n")
    weights = [(one / "checkpoints" / "final.safetensors").read_bytes() for one in (run.dir, new)]
    assert weights[0] == weights[1]


def as_older_runs_are(run: RunFolder) -> None:
    """Its records as they were when the running loss was called `train/loss`, and was that of the end, too."""
    lines, last = [], None
    for record in run.records():
        metrics = record.get("metrics", {})
        last = metrics.pop("train/running_loss", last)
        if record["record"] in {"step", "end"}:
            metrics["train/loss"] = last
        lines.append(json.dumps(record) + "\n")
    (run.dir / "metrics.jsonl").write_text("".join(lines))


def test_a_run_of_an_older_dlx_reproduces_and_lists(run, capsys):
    """Its curve is compared by today's name; its `train/loss` at the end was no evaluation, and is not."""
    new = RunFolder(reproduce(run, run.root).new.dir)
    as_older_runs_are(run)
    assert compare_runs(run, new).verdict == compare_runs(new, run).verdict == "bitwise equal"
    assert compare_runs(run, run).verdict == "bitwise equal"

    curve = next(r for r in new.records() if r["record"] == "step")
    edited(new, "metrics.jsonl", repr(curve["metrics"]["train/running_loss"]), "0.125")
    difference = compare_runs(run, new).difference
    assert (difference.record, difference.step, difference.metric, difference.second) == (
        "step",
        1,
        "train/running_loss",
        0.125,
    )
    status, out, _ = command(capsys, "runs", "--runs", run.root, "--json")
    listed = {one["run"]: one["metrics"] for one in json.loads(out)["runs"]}
    assert (status, listed[run.key]["train/loss"]) == (0, run.end()["metrics"]["train/loss"])


def test_it_takes_as_many_threads_and_the_same_kind_of_device(run):
    edited(run, "lock.json", '"threads": 1', '"threads": 2')
    assert load(run.dir / "spec.yaml").train.device == "auto"
    found = reproduce(run, run.root)

    assert found.new.read_json("lock.json")["threads"] == 2
    assert load(found.new.dir / "spec.yaml").train.device == "cpu"
    assert found.changed == {}


def test_what_the_lock_says_otherwise_is_reported(run, capsys):
    edited(run, "lock.json", '"device": "cpu"', '"device": "cuda:0 (NVIDIA H200)"')
    edited(run, "lock.json", f'"torch": "{torch.__version__}"', '"torch": "2.0.1"')
    _, out, _ = command(capsys, "reproduce", run.key, "--runs", run.root)

    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["lock", "was", "is"]
    assert ["packages.torch", "2.0.1", torch.__version__] in rows
    assert ["device", "cuda:0", "(NVIDIA", "H200)", "cpu"] in rows


def test_a_hair_is_within_tolerance(run, capsys):
    """As another processor might give it."""
    folder = run.dir / "checkpoints"
    facts, tensors = checkpoint.read(folder, "final")
    tensors["linear_1.weight"][0, 0] += float(tensors["linear_1.weight"].abs().max()) / 2**14
    checkpoint.write(folder, "final", tensors, facts)
    status, out, _ = command(capsys, "reproduce", run.key, "--runs", run.root)

    lines = out.splitlines()
    assert (status, lines[0]) == (0, "within tolerance: off by 6.1e-05 at most, 0.001 allowed")
    assert lines[1] == "layer   linear_1: linear_1.weight is off by 6.1e-05 in checkpoint final"

    document = json.loads(command(capsys, "reproduce", run.key, "--runs", run.root, "--json")[1])
    assert (document["verdict"], document["first"]) == ("within tolerance", None)
    assert document["tensor"]["layer"] == "linear_1"


def test_what_differs_is_reported_with_its_first_step_and_layer(run, capsys):
    """Another learning rate: the first loss is the same, the second is not."""
    edited(run, "spec.yaml", "0.1", "0.2")
    status, out, _ = command(capsys, "reproduce", run.key, "--runs", run.root)

    lines = out.splitlines()
    assert status == 1
    assert lines[0].startswith("differs: off by ")
    assert lines[1].startswith("first   lr at step 1: 0.1 and 0.2")
    assert lines[2].startswith("layer   ")
    assert lines[2].endswith(" in checkpoint step-000000001")


def test_the_layer_is_that_of_the_nearest_checkpoint(tmp_path):
    """Weights of one layer at step 3, and then of all."""
    runs = []
    for scale in (1.0, 2.0):
        run = RunFolder.create(tmp_path, "s")
        for step in (1, 2):
            run.append(
                {"record": "step", "time": 0.0, "step": step, "metrics": {"train/running_loss": step * scale**step}}
            )
        run.append({"record": "end", "time": 0.0, "step": 2, "status": "finished", "message": "", "metrics": {}})
        for name, factor in {"step-000000001": 1.0, "step-000000003": scale, "final": 9 * scale}.items():
            weights = {"a.weight": torch.ones(2), "b/c.weight": torch.ones(2) * factor}
            checkpoint.write(run.dir / "checkpoints", name, weights, {})
        runs.append(run)
    found = compare_runs(*runs)

    assert (
        found.verdict,
        found.difference.step,
        found.difference.first,
        found.difference.second,
    ) == ("differs", 1, 1.0, 2.0)
    assert (found.deviation.checkpoint, found.deviation.layer, found.deviation.relative) == (
        "step-000000003",
        "b/c",
        1.0,
    )
    assert found.largest == 3.0


def test_other_data_is_refused_and_leaves_no_folder(run):
    edited(run, "spec.yaml", "train: 160", "train: 170")
    with pytest.raises(DlxError, match=r"the data of s/.* has changed: its digest was"):
        reproduce(run, run.root)
    assert list(run.dir.parent.iterdir()) == [run.dir]


def test_what_has_not_finished_has_nothing_to_reproduce(run):
    run.append({"record": "start", "time": 0.0})
    run.close()
    edited(run, "lock.json", '"pid": ', '"pid": 4194305')
    with pytest.raises(DlxError, match=r"has not finished, and there is no result to reproduce") as error:
        reproduce(run, run.root)
    assert error.value.problems[0].hint == f"`dlx train --resume {run.dir}` goes on with it."


def test_a_folder_without_a_lock_cannot_be_reproduced(run):
    (run.dir / "lock.json").unlink()
    with pytest.raises(DlxError, match=r"has no lock\.json, which says what it was run with"):
        prepare_copy(run, run.root)
