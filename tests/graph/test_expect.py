"""What a spec claims is checked: before training against the plan, after it against the metrics."""

import subprocess
import sys
from textwrap import dedent

import pytest

from dlx.errors import SpecError
from dlx.graph import trace, unmet, unmet_by
from dlx.graph.expect import receipts
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
        ("  params: 1491", "claims params 1,491, and it is 1,490"),
        ("  macs: 5", "claims macs 5, and it is 2,736"),
        ("  receptive_field: 5", "claims receptive_field 5, and it is 3"),
        ("  receptive_field: [3, 5]", "claims receptive_field [3, 5], and it is 3"),
        ("  receptive_field: global", "claims receptive_field global, and it is 3"),
        ("  receptive_field: {conv_1: 4}", "claims receptive_field of conv_1 4, and it is 3"),
        ("  receptive_field: {linear_1: 4}", "claims receptive_field of linear_1 4, and it is global"),
        ("  receptive_field_start: {conv_1: -1}", "claims receptive_field_start of conv_1 -1, and it is 0"),
        ("  shape: {conv_1: [4, 6]}", "claims shape of conv_1 [4, 6], and it is [4, 6, 6]"),
        ("  shape: 144", "claims shape 144, and it is [10]"),
        (
            "  shape: {cnov_1: [4, 6]}",
            "claims shape of cnov_1 [4, 6], and there is no `cnov_1`. Did you mean `conv_1`?",
        ),
        ("  params: {about: 1400, within: 50}", "claims params about 1,400, within 50, and it is 1,490"),
        ("  params: {at_least: 1491}", "claims params at least 1,491, and it is 1,490"),
        ("  params: {at_most: 1489}", "claims params at most 1,489, and it is 1,490"),
        ("  params: {book: 5, is: 6, because: of a slip}", "claims params 6, and it is 1,490"),
        ("  count: {conv: 2}", "claims count of conv 2, and it is 1"),
        ("  depth: 3", "claims depth 3, and it is 2"),
        ("  figures: {a half: {of: '${params / 2}', is: 1}}", "claims a half 1, and it is 745"),
        (
            "  figures: {odd: {of: '${conv_1.parms}', is: 1}}",
            "claims odd 1, and there is no `parms` of `conv_1`",
        ),
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
        ("  test/error: {within: 0.1}", "the claim states no figure"),
        ("  params: {isnt: 3, is: 4}", "a claim has no `isnt`"),
        ("  params: {about: 3}", "`about` wants `within`: how near is near"),
        ("  params: {at_least: many}", '`at_least` must be a number, not "many"'),
        ("  params: {book: 3}", "a book that is wrong wants the right figure and the reason"),
        ("  params: {book: 3, is: 3, because: no}", "`book` and `is` are both 3"),
        ("  params: {is: 3, because: why not}", "`because` says why a book is wrong, and there is no `book`"),
        ("  figures: 3", "`figures` must be a mapping, not 3"),
        ("  figures: {half: {is: 3}}", "a figure wants `of`, the arithmetic"),
        ("  count: 3", "`count` must be a mapping, not 3"),
        ("  output: [0]", "`output` wants the input and the output"),
        ("  [1, 2]", "`expect` must be a mapping of claims, not [1, 2]"),
    ],
)
def test_a_claim_that_no_one_could_check_is_a_mistake(tmp_path, claims, sentence):
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, claims))
    assert error.value.problems[0].message == sentence


def test_a_claim_has_a_verdict_and_a_source(tmp_path):
    claims = """\
      params: [1490, {about: 1500, within: 10, source: figure 2}, {book: 150, is: 1490, because: a digit is lost}]
      receptive_field: {conv_1: 3, source: table 1}
      macs: 1
      test/error: {about: 0.17, within: 0.05}
    """
    experiment = spec(tmp_path, dedent(claims).replace("\n", "\n  ").join(["  ", ""]))
    found = receipts(experiment, trace(experiment))

    assert [(r.claim.title, r.claim.source, r.verdict, r.ours) for r in found] == [
        ("params", "", "holds", 1490),
        ("params", "figure 2", "holds", 1490),
        ("params", "", "book wrong", 1490),
        ("receptive_field of conv_1", "table 1", "holds", 3),
        ("macs", "", "FAILS", 2736),
        ("test/error", "", "not run", None),
    ]
    assert found[2].as_json()["because"] == "a digit is lost"


def test_what_another_spec_claims_is_not_claimed_of_one_that_builds_on_it(tmp_path):
    (tmp_path / "base.yaml").write_text(SPEC.format(claims="  params: 7"))
    (tmp_path / "s.yaml").write_text("defaults: [base]\nexpect: {macs: 2736}")
    experiment = load(tmp_path / "s.yaml")

    assert [r.claim.title for r in receipts(experiment, trace(experiment))] == ["macs"]


def test_results_are_held_against_their_claims(tmp_path):
    experiment = spec(tmp_path, "  test/error: {about: 0.17, within: 0.05}\n  valid/loss: 0.3")
    assert [p.message for p in unmet_by(experiment, {"test/error": 0.13, "valid/loss": 0.3})] == []
    assert [p.message for p in unmet_by(experiment, {"test/error": 0.3})] == [
        "claims test/error about 0.17, within 0.05, and it is 0.3",
        "claims valid/loss 0.3, and there is no such metric",
    ]


def test_the_command_fails_with_status_1(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(claims="  params: 7"))
    told = subprocess.run([sys.executable, "-m", "dlx", "inspect", str(path)], capture_output=True, text=True)
    assert told.returncode == 1
    assert "1,490 parameters" in told.stdout
    assert f"{path}:8:3  expect.params: claims params 7, and it is 1,490" in told.stderr
