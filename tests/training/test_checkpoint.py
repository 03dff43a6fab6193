"""Weights on disk: all of them or none, and what was altered is not used."""

import json
import math
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from dlx.errors import DlxError, RunError
from dlx.training.checkpoints import checkpoint


def network() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3))


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    first, second = network(), network()
    checkpoint.save(tmp_path, "final", first, {"step": 5})
    about = checkpoint.load_weights(second, tmp_path)
    assert about["step"] == 5
    assert about["bytes"] == (tmp_path / "final.safetensors").stat().st_size
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert {p.name for p in tmp_path.iterdir()} == {"final.safetensors", "final.json"}


def test_any_tool_reads_the_weights(tmp_path):
    from safetensors import safe_open

    checkpoint.save(tmp_path, "final", network(), {})
    with safe_open(tmp_path / "final.safetensors", "pt") as file:
        assert "0.weight" in file.keys()  # noqa: SIM118 - it is no mapping


def test_an_altered_checkpoint_is_refused(tmp_path):
    checkpoint.save(tmp_path, "final", network(), {})
    path = tmp_path / "final.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DlxError, match=r"final\.safetensors is not what was written: its checksum differs"):
        checkpoint.load_weights(network(), tmp_path)


def test_a_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(DlxError, match="there is no checkpoint"):
        checkpoint.load_weights(network(), tmp_path)


def test_weights_that_are_not_finite_are_not_kept_and_the_old_ones_stay(tmp_path):
    net = network()
    checkpoint.save(tmp_path, "last", net, {"step": 1})
    with torch.no_grad():
        net[0].weight[0, 0, 0] = float("inf")
    with pytest.raises(RunError, match=r"the weights of `0\.weight` are not finite"):
        checkpoint.save(tmp_path, "last", net, {"step": 2})
    assert json.loads((tmp_path / "last.json").read_text())["step"] == 1
    checkpoint.load_weights(network(), tmp_path, "last")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path):
    """The system refuses larger files; Python ignores the signal that comes with it."""
    checkpoint.save(tmp_path, "last", network(), {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(checkpoint.NotWrittenError, match=r"could not be written to .*: File too large") as error:
            checkpoint.save(tmp_path, "last", network(), {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.problems[0].hint == "Make room on the disk."
    assert checkpoint.load_weights(network(), tmp_path, "last")["step"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"last.safetensors", "last.json"}


@pytest.mark.parametrize(
    "altered",
    [
        lambda text: text.replace(b'"step": 5', b'"step": 6'),
        lambda text: text[: len(text) // 2],
        lambda text: b"[]",
        lambda text: b"",
        lambda text: text.replace(b"facts_sha256", b"facts_sha255"),
        lambda text: text.replace(b"{", b"\xff", 1),
    ],
    ids=["a figure", "torn", "another form", "empty", "no checksum", "no text"],
)
def test_altered_facts_are_refused(tmp_path, altered):
    checkpoint.save(tmp_path, "final", network(), {"step": 5})
    path = tmp_path / "final.json"
    text = path.read_bytes()
    path.write_bytes(altered(text))
    assert path.read_bytes() != text
    with pytest.raises(DlxError, match=r"final\.json is not what was written: its checksum differs"):
        checkpoint.load_weights(network(), tmp_path)


def test_facts_and_tensors_of_two_checkpoints_do_not_go_together(tmp_path):
    checkpoint.save(tmp_path, "final", network(), {"step": 5})
    first = (tmp_path / "final.json").read_bytes()
    checkpoint.save(tmp_path, "final", network(), {"step": 6})
    (tmp_path / "final.json").write_bytes(first)
    with pytest.raises(DlxError, match=r"final\.safetensors is not what was written"):
        checkpoint.load_weights(network(), tmp_path)


def test_numbers_that_are_none_are_facts_too(tmp_path):
    checkpoint.save(tmp_path, "final", network(), {"metrics": {"valid/loss": math.nan, "b": math.inf}})
    assert math.isnan(checkpoint.load_weights(network(), tmp_path)["metrics"]["valid/loss"])
