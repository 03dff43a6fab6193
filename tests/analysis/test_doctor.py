"""`dlx doctor` as a whole, and as a user meets it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import commands
import pytest
import torch
from doctored import FixedData, sets

from dlx.analysis.doctor import diagnosis
from dlx.analysis.doctor.check import CHECKS
from dlx.errors import SpecError
from dlx.spec import load

ROOT = Path(__file__).parents[2]
LENET = ROOT / "specs/digits/lenet.yaml"
SPEC = """\
name: small
data: {synthetic: {shape: [6], classes: 3, train: 200, valid: 50, test: 50}}
network:
  layers:
    - linear: 32
    - relu
    - linear: 3
init: he_normal
train: {steps: 200, optimizer: {adam: 1e-2}}
"""
ROWS = [
    "inputs",
    "targets",
    "class balance",
    "duplicates",
    "leakage",
    "row order",
    "initial loss",
    "output layer",
    "symmetry",
    "regularisation",
    "dead units",
    "always active units",
    "saturated units",
    "activations",
    "gradients",
    "update size",
    "gradient check",
    "overfit a batch",
    "learning rates",
    "shuffled labels",
]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SPEC)
    return path


def dlx(*argv: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return commands.dlx("doctor", *argv, cwd=cwd)


def test_the_lenet_of_the_digits_is_in_good_health():
    report = diagnosis.examine(load(LENET))
    assert {row.check: row.outcome.finding for row in report.checks if row.outcome.verdict in ("look", "wrong")} == {}
    rows = {row.check: row.outcome for row in report.checks}
    assert list(rows) == ROWS
    assert rows["initial loss"].expected == "about ln 10 = 2.303"
    assert [name for name, one in rows.items() if one.verdict == "not run"] == ["row order", "saturated units"]
    assert not report.wrong


def test_every_check_has_a_row_and_says_what_it_does():
    assert sorted(CHECKS) == sorted(ROWS)
    assert all(function.__doc__ for function in CHECKS.values())


def test_the_same_seed_gives_the_same_report_and_leaves_the_generator_alone(spec):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = diagnosis.examine(load(spec)).as_json()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert diagnosis.examine(load(spec)).as_json() == first
    other = diagnosis.examine(load(spec, ["++train.seed=5"])).as_json()
    assert other["checks"][6]["figure"] != first["checks"][6]["figure"]


def test_layers_of_several_results_are_seen_by_their_output(tmp_path):
    (tmp_path / "s.yaml").write_text("""\
data: {inpainting: {train: 60, valid: 0, test: 20, size: 8, hole: 2}}
network:
  layers:
    - {partial_conv: {out_channels: 3, kernel_size: 3, padding: 1}, name: first, from: [image, mask]}
    - {partial_conv: {out_channels: 1, kernel_size: 3, padding: 1}, name: last, from: [first, first.mask]}
train: {steps: 20, optimizer: {adam: 1e-2}}
""")
    probe = diagnosis.probe_of(load(tmp_path / "s.yaml"))
    seen = {layer.node.name: layer for layer in probe.start.layers}
    assert list(seen) == [node.name for node in probe.graph.nodes] == ["first", "first.mask", "last"]
    for name, layer in seen.items():
        assert tuple(layer.output.shape[1:]) == tuple(probe.graph.by_name[name].shape)
    assert seen["first"].output.grad is not None
    assert len(seen["last"].inputs) == 2
    report = diagnosis.examine(load(tmp_path / "s.yaml"))
    assert [row.check for row in report.checks] == ROWS


def test_a_network_is_not_tried_on_data_that_is_wrong(spec):
    beyond = sets(train=(sets().train.x, sets().train.y + 1))
    report = diagnosis.examine(replace(load(spec), data=FixedData(beyond)))
    rows = {row.check: row.outcome for row in report.checks}
    assert rows["targets"].verdict == "wrong"
    assert rows["leakage"].verdict == "ok"
    assert rows["initial loss"].expected == "the data comes first"


def test_a_spec_that_cannot_be_trained_is_refused_as_by_train(spec):
    with pytest.raises(SpecError) as error:
        diagnosis.examine(load(spec, ["~train"]))
    assert error.value.problems[0].message == "there is no `train` to train with"


def test_a_healthy_spec_ends_with_status_0_and_leaves_nothing_behind(spec):
    result = dlx("small.yaml", cwd=spec.parent)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "small  (small.yaml)"
    assert lines[1].split() == ["check", "verdict", "figure", "expected"]
    assert [line[:19].strip() for line in lines[2:22]] == ROWS
    assert lines[-1] == "20 checks: 18 ok, 2 not run"
    assert sorted(path.name for path in spec.parent.iterdir()) == ["small.yaml"]


def test_a_sick_spec_ends_with_status_1_findings_and_places(spec):
    text = SPEC.replace("    - linear: 3\n", "    - linear: 3\n    - softmax\n").replace("1e-2", "100")
    spec.write_text(text)
    result = dlx("small.yaml", cwd=spec.parent)
    assert (result.returncode, result.stderr) == (1, "")
    assert (
        "\nsmall.yaml:8:7  output layer: wrong\n"
        "  cross_entropy takes logits, and `softmax_1` gives numbers between 0 and 1: "
        "the loss cannot fall below 0.55\n"
        "  Drop `softmax_1`.\n"
    ) in result.stdout
    assert "\nsmall.yaml:10:" in result.stdout
    assert " wrong, " in result.stdout.splitlines()[-1]


def test_json_has_the_documented_keys(spec):
    result = dlx("small.yaml", "train.optimizer.adam.lr=100", "--json", cwd=spec.parent)
    assert result.returncode == 1
    rows = json.loads(result.stdout)["checks"]
    assert [row["check"] for row in rows] == ROWS
    keys = ["check", "verdict", "figure", "expected", "finding", "file", "line", "hint"]
    assert all(list(row) == keys for row in rows)
    (row,) = [row for row in rows if row["check"] == "update size"]
    assert (row["verdict"], row["file"], row["line"]) == ("wrong", "small.yaml", 9)
    assert row["hint"] == "Lower the learning rate."


def test_a_spec_that_is_wrong_ends_with_status_2(spec):
    spec.write_text(SPEC.replace("relu", "rleu"))
    result = dlx("small.yaml", cwd=spec.parent)
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no layer or block `rleu`" in result.stderr
    missing = dlx("nowhere.yaml", "--json", cwd=spec.parent)
    assert missing.returncode == 2
    assert [e["message"] for e in json.loads(missing.stdout)["errors"]] == ["there is no such file"]


def test_a_narrow_terminal_loses_what_was_expected_before_anything_else(spec):
    from test_cli import on_terminal

    plain = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal("doctor", str(spec), columns=70))
    rows = [line.rstrip() for line in plain.splitlines()]
    assert rows[1].split() == ["check", "verdict", "figure"]
    assert max(map(len, rows[1:21])) <= 70
    assert rows[-1] == "20 checks: 18 ok, 2 not run"
