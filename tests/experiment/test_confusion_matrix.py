"""`metrics: [confusion_matrix]`: a table in the run's folder and on the screen, and no number."""

import json

import pytest
import torch
from commands import dlx

from dlx.errors import SpecError
from dlx.experiment import confusion_matrix
from dlx.experiment import runner as experiments
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.training.checkpoints.checkpoint import restore

SPEC = """\
name: net
data: {data}
network: {{layers: [flatten, {{linear: {classes}}}]}}
objective: {{classification: {{metrics: [f1, confusion_matrix]}}}}
train: {{epochs: 3, optimizer: {{adam: 0.01}}{more}}}
track: {{mlflow: false}}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.format(data="digits", classes=10, more=""))
    return path


def test_the_table_of_each_part_is_in_the_folder(path, tmp_path):
    done = experiments.run(load(path), tmp_path / "runs")
    run = done.results[0].run
    found = json.loads((run.dir / "confusion.json").read_text())
    network, _ = restore(run.dir)
    test = load(path).data.load().test
    said = network(torch.from_numpy(test.x)).argmax(1).tolist()
    by_hand = [[0] * 10 for _ in range(10)]
    for target, guess in zip(test.y.tolist(), said, strict=True):
        by_hand[target][guess] += 1

    assert found["test"] == by_hand
    assert (found["rows"], found["columns"]) == ("target", "predicted")
    assert found["classes"] == [str(number) for number in range(10)]
    hits = sum(found["test"][k][k] for k in range(10)) / len(test)
    assert hits == pytest.approx(done.metrics["test/accuracy"])
    assert sum(map(sum, found["train"])) == len(load(path).data.load().train)
    assert not any("confusion" in name for name in done.metrics)
    assert confusion_matrix.read(run)[0].last == ("test", by_hand)


def test_it_is_drawn_at_the_end_with_its_classes(path, tmp_path):
    shown = dlx("train", path, "--runs", tmp_path / "runs", check=True).stdout.splitlines()
    (head,) = (i for i, line in enumerate(shown) if line.startswith("test: target"))
    assert shown[head].split() == ["test:", "target", *map(str, range(10)), "right"]
    (run,) = (tmp_path / "runs" / "net").iterdir()
    row = confusion_matrix.read(RunFolder(run))[0].parts["test"][3]
    cells = shown[head + 4].split()
    assert cells[:-1] == ["3", *(f"{count}" if count else "." for count in row)]
    assert cells[-1] == f"{row[3] / sum(row):.0%}"


def test_many_classes_are_in_the_file_only(tmp_path):
    path = tmp_path / "net.yaml"
    data = "{synthetic: {shape: [4], classes: 21, train: 100, valid: 30, test: null}}"
    path.write_text(SPEC.format(data=data, classes=21, more=""))
    shown = dlx("train", path, "--runs", tmp_path / "runs", check=True).stdout
    assert "valid: which of the 21 classes was taken for which is in " in shown


def test_a_table_is_nothing_to_stop_by(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.format(data="digits", classes=10, more=", early_stopping: {metric: valid/confusion_matrix}"))
    with pytest.raises(SpecError, match="confusion_matrix"):
        experiments.run(load(path), tmp_path / "runs")
