"""What a spec claims is checked: before training against the plan, after it against the metrics."""

import subprocess
import sys

import pytest

from dlx.errors import SpecError
from dlx.graph import trace, unmet, unmet_by
from dlx.spec import load

SPEC = """\
network:
  inputs: [1, 8, 8]
  layers:
    - conv: {{out_channels: 4, kernel_size: 3}}
    - flatten
    - linear: 10
expect:
{claims}
"""
RIGHT = """\
  params: 1490
  macs: 2736
  buffers: 0
  trainable: 1490
  activation_bytes: 616
  receptive_field: 3
  shape: {conv_1: [4, 6, 6]}
"""


def spec(tmp_path, claims: str):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(claims=claims))
    return load(path)


def test_claims_that_are_met_are_not_mentioned(tmp_path):
    experiment = spec(tmp_path, RIGHT + "  test/error: {about: 0.17, within: 0.05}")
    assert unmet(experiment, trace(experiment)) == []


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ("  params: 1491", "claims 1,491 params, and the network has 1,490"),
        ("  macs: 5", "claims 5 macs, and the network has 2,736"),
        ("  receptive_field: 5", "claims a receptive field of 5, and the network's is 3"),
        ("  receptive_field: global", "claims a receptive field of global, and the network's is 3"),
        ("  receptive_field: {conv_1: 4}", "claims a receptive field of 4 for `conv_1`, and it is 3"),
        ("  receptive_field: {linear_1: 4}", "claims a receptive field of 4 for `linear_1`, and it is global"),
        ("  shape: {conv_1: [4, 6]}", "claims the shape of [4, 6] for `conv_1`, and it is [4, 6, 6]"),
        ("  shape: {cnov_1: [4, 6]}", "claims something of `cnov_1`, which is no node"),
    ],
)
def test_a_claim_that_is_not_met_gives_both_figures(tmp_path, claims, sentence):
    experiment = spec(tmp_path, claims)
    (problem,) = unmet(experiment, trace(experiment))
    assert problem.message == sentence
    assert problem.mark.line == 8


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ("  parms: 3", "there is no claim `parms`"),
        ("  test/error: often", "`test/error` wants a number and how near is near"),
        ("  test/error: {within: 0.1}", "`test/error` wants a number and how near is near"),
    ],
)
def test_a_claim_that_no_one_could_check_is_a_mistake(tmp_path, claims, sentence):
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, claims))
    assert error.value.problems[0].message == sentence


def test_results_are_held_against_their_claims(tmp_path):
    experiment = spec(tmp_path, "  test/error: {about: 0.17, within: 0.05}\n  valid/loss: 0.3")
    assert [p.message for p in unmet_by(experiment, {"test/error": 0.13, "valid/loss": 0.3})] == []
    assert [p.message for p in unmet_by(experiment, {"test/error": 0.3})] == [
        "claims test/error about 0.17, within 0.05, and it is 0.3",
        "claims valid/loss about 0.3, within 0, and there is no such metric",
    ]


def test_the_command_fails_with_status_1(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(claims="  params: 7"))
    told = subprocess.run([sys.executable, "-m", "dlx", "inspect", str(path)], capture_output=True, text=True)
    assert told.returncode == 1
    assert "1,490 parameters" in told.stdout
    assert f"{path}:8:3  expect.params: claims 7 params, and the network has 1,490" in told.stderr
