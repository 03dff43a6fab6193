"""benchmarks/same_bits.py: a build that gives another value is reported, and one that is only slower is not."""

import importlib
import json
import shutil

import numpy as np
import pytest
from helpers import ROOT
from safetensors.numpy import save_file

RULES = {
    "unsteady": [{"key": "*/plan.json/drawn"}],
    "announced": [{"key": "l-bfgs/*"}],
    "free": [{"key": "*lock.json*"}],
}
RECORD = {"record": "step", "time": 1.5, "step": 5, "metrics": {"train/running_loss": 0.25}}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.fixture
def twins(tmp_path):
    """Two folders of runs with the same run, whose names and times differ."""
    for build, name in (("a", "20260101-000000-0000"), ("b", "20260102-000000-ffff")):
        run = tmp_path / build / "runs" / "small" / name
        (run / "checkpoints").mkdir(parents=True)
        save_file({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, run / "checkpoints" / "final.safetensors")
        record = RECORD | {"time": 2.5 if build == "b" else 1.5}
        (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")
        write(run / "plan.json", params=6, drawn=build)
        write(run / "lock.json", seed=0, pid=ord(build), command=[name])
    return tmp_path


def write(path, **document):
    path.write_text(json.dumps(document))


def run_of(twins, build):
    (run,) = (twins / build / "runs" / "small").iterdir()
    return run


def row(twins, name="sgd"):
    of_files = importlib.import_module("bits").of_files
    compared = importlib.import_module("same_bits").compared
    return compared(name, *(of_files(twins / build / "runs", states=True) for build in "ab"), RULES)


def test_runs_that_differ_in_name_and_time_alone_are_equal(twins):
    found = row(twins)

    assert found.verdict == "equal"
    assert found.values == 6 + 2 + 1 + 1  # the tensor, step and loss, params, seed


def test_a_weight_that_differs_by_a_bit_is_reported(twins):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    weights[1, 2] = np.nextafter(weights[1, 2], np.float32(9))
    save_file({"w": weights}, run_of(twins, "b") / "checkpoints" / "final.safetensors")

    (difference,) = row(twins).differences

    assert difference.startswith("small/run-1/checkpoints/final.safetensors/w: 6 values, sha256 ")


def test_a_point_of_the_curve_that_differs_is_reported_with_both_values(twins):
    changed = json.dumps(RECORD).replace("0.25", "0.25000000000000006")
    (run_of(twins, "b") / "metrics.jsonl").write_text(changed + "\n")

    (difference,) = row(twins).differences

    assert difference.startswith("small/run-1/metrics.jsonl/1: ")
    assert '"train/running_loss": 0.25}} -> ' in difference
    assert difference.endswith('"train/running_loss": 0.25000000000000006}}')


def test_a_key_that_is_gone_or_gained_is_a_difference_but_in_the_lock(twins):
    write(run_of(twins, "b") / "plan.json", weights=6)
    write(run_of(twins, "b") / "lock.json", seed=0, way="plain")

    found = row(twins)

    assert found.differences == [
        "small/run-1/plan.json/params: 6 -> nothing",
        "small/run-1/plan.json/weights: nothing -> 6",
    ]
    assert found.noted == ['small/run-1/lock.json/way: nothing -> "plain"']


def test_a_run_that_is_missing_is_reported(twins):
    shutil.rmtree(run_of(twins, "b"))

    assert len(row(twins).differences) == 3  # tensor, record, plan


def test_what_is_made_of_an_old_run_is_compared_with_what_its_own_build_made_of_it():
    compared = importlib.import_module("same_bits").compared
    before = {"evaluate: loss": "1.5"}

    found = compared("sgd", before, before | {"of the first build's run: evaluate: loss": "1.25"}, RULES)

    assert found.differences == ["of the first build's run: evaluate: loss: 1.5 -> 1.25"]


def test_an_announced_change_is_reported_as_such(twins):
    write(run_of(twins, "b") / "plan.json", params=7)

    found = row(twins, "l-bfgs")

    assert not found.differences
    assert found.verdict == "equal; 1 announced, first small/run-1/plan.json/params: 6 -> 7"


@pytest.mark.slow
def test_a_build_whose_relu_differs_is_distinguished_from_this_one(tmp_path, capsys):
    same, other = tmp_path / "same", tmp_path / "other"
    for twin in (same, other):
        twin.mkdir()
        for name in ("dlx", "specs"):
            (twin / name).symlink_to(ROOT / name)
    lines = ["import torch", "torch.nn.ReLU.forward = lambda self, x: x.clamp(min=1e-6)"]
    (other / "sitecustomize.py").write_text("\n".join(lines))
    main = importlib.import_module("same_bits").main
    reference = str(tmp_path / "kept")
    chosen = ["--only", "one dense", "--only", "a curve with"]

    assert main([str(ROOT), "--record", reference, *chosen]) == 0
    assert main([str(same), "--against", reference, *chosen]) == 0
    assert "2 cases equal, 0 differ" in capsys.readouterr().out
    assert main([str(other), "--against", reference, *chosen]) == 1
    assert "1 cases equal, 1 differ" in capsys.readouterr().out  # that of tanh stays
