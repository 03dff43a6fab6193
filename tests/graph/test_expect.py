"""Claims of a spec are checked: before training against the graph, after it against the metrics."""

from textwrap import dedent

import pytest
from commands import dlx

from dlx.errors import Mark, SpecError
from dlx.graph import trace, unmet, unmet_by
from dlx.graph.expect import Receipt, format_value, near, receipts
from dlx.spec import load
from dlx.spec.sections.expect import Claim
from dlx.spec.syntax.read import Node

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
            "  output: {at: 1, of: cnov_1, is: 2}",
            "claims output of cnov_1 at 1 2, and there is no `cnov_1`. Did you mean `conv_1`?",
        ),
        (
            "  gradient: {at: 1, by: conv_1/wieght, is: 2}",
            "claims gradient by conv_1/wieght at 1 2, and there is no `conv_1/wieght`. Did you mean `conv_1`?",
        ),
        (
            "  output: {at: {image: 1}, is: 2}",
            "claims output at {image: 1} 2, and `at` gives image, and the inputs are input",
        ),
        (
            "  output: {at: [[1, 2], [3]], is: 2}",
            "claims output at [[1, 2], [3]] 2, and `input` wants numbers in rows of one length, not [[1, 2], [3]]",
        ),
        (
            "  output: {at: true, is: 2}",
            "claims output at true 2, and `input` wants numbers in rows of one length, not true",
        ),
        (
            "  output: {at: [[[1, 2], [3, 4]]], is: 2}",
            "claims output at [[[1, 2], [3, 4]]] 2, and `input` is (1, 8, 8), and `at` gives (1, 2, 2)",
        ),
        (
            "  output: {at: 0, is: [1, true]}",
            "claims output at 0 [1, True], and `is` mixes numbers with true or false: [1, true]",
        ),
        (
            "  loss: {at: 0, target: 1, is: [1, 2]}",
            "claims loss at 0 for 1 [1, 2], and a loss is one number, and `is` gives [1, 2]",
        ),
        (
            "  gradient: {at: 0, target: 1, by: conv_1, is: {a: 1}}",
            "claims gradient by conv_1 at 0 for 1 a 1, and `is` wants numbers in rows of one length, not {a: 1}",
        ),
        (
            "  output: {at: 0, is: [1, wide]}",
            'claims output at 0 [1, wide], and `is` wants numbers in rows of one length, not [1, "wide"]',
        ),
        (
            "  weights_after: {steps: 1, at: 1, target: 1, of: conv_1, is: 2}",
            (
                "claims conv_1 after 1 step 2, and there is no weight `conv_1`. "
                "Did you mean `conv_1/bias` or `conv_1/weight`?"
            ),
        ),
        (
            "  figures: {odd: {of: '${conv_1.parms}', is: 1}}",
            "claims odd 1, and there is no `parms` of `conv_1`. Did you mean `params` or `paths`?",
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
        ("  receptive_field: null", "`receptive_field` claims nothing"),
        ("  params:", "`params` claims nothing"),
        ("  test/error: often", "`test/error` wants a number and how near is near"),
        ("  test/error: {within: 0.1}", "the claim states no figure"),
        ("  params: {isnt: 3, is: 4}", "a claim has no `isnt`"),
        ("  params: {at_least: 3, at_most: 2}", "nothing is at least 3 and at most 2"),
        ("  params: {about: 3}", "`about` wants `within`: how near is near"),
        ("  params: {at_least: many}", '`at_least` must be a number, not "many"'),
        ("  params: {book: 3}", "a book that is wrong wants the right figure and the reason"),
        ("  params: {book: 3, is: 3, because: no}", "`book` and `is` are both 3"),
        ("  params: {is: 3, because: why not}", "`because` says why a book is wrong, and there is no `book`"),
        ("  figures: 3", "`figures` must be a mapping, not 3"),
        ("  figures: {half: {is: 3}}", "a figure wants `of`, the arithmetic"),
        ("  count: 3", "`count` must be a mapping, not 3"),
        ("  output: [0]", "`output` wants `at`"),
        ("  [1, 2]", "`expect` must be a mapping of claims, not [1, 2]"),
    ],
)
def test_a_claim_that_no_one_could_check_is_a_mistake(tmp_path, claims, sentence):
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, claims))
    assert error.value.problems[0].message == sentence


WRONG_KEYS = """
  params:
    is: 1490
    boook: 150
    because: a digit is lost
  figures:
    a half:
      iss: 745
      of: "${params / 2}"
  output:
    is: [0]
    att: [1]
"""


def test_a_wrong_key_of_a_claim_is_told_at_its_own_line_and_hides_what_it_was_meant_to_be(tmp_path):
    first = SPEC.format(claims="").rstrip().count("\n") + 1
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, WRONG_KEYS.strip("\n")))
    assert [(p.mark.line - first, p.mark.column, p.path, p.message, p.hint) for p in error.value.problems] == [
        (3, 5, "expect.params.boook", "a claim has no `boook`", "Did you mean `book`?"),
        (7, 7, "expect.figures.a half.iss", "a claim has no `iss`", "Did you mean `is`?"),
        (11, 5, "expect.output.att", "a claim has no `att`", "Did you mean `at`?"),
    ]


DIGITS = """\
data: digits
network: {layers: [flatten, {linear: 10}]}
"""


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        (
            "expect: {test/acuracy: {at_least: 0.9}}",
            "`test/acuracy` is measured by nothing: the objective is classification",
            "Did you mean `accuracy`?",
        ),
        (
            "recorded: {test/mse: {at_most: 1, source: results/a.md}}",
            "`test/mse` is measured by nothing: the objective is classification",
            "There are the metrics accuracy, error, loss.",
        ),
        (
            "objective: {classification: {metrics: [auroc]}}\nexpect: {test/auroc_1: {at_least: 0.9}}",
            "`test/auroc_1` is measured by nothing: the objective is classification",
            "Did you mean `auroc`?",
        ),
        (
            "train: {epochs: 1}\nexpect: {test/ensemble_error: {at_most: 0.1}}",
            "`test/ensemble_error` is measured by nothing: the objective is classification",
            "There are the metrics accuracy, error, loss.",
        ),
    ],
)
def test_a_claim_on_a_metric_that_nothing_measures_is_told_before_the_training(tmp_path, more, message, hint):
    path = tmp_path / "s.yaml"
    path.write_text(f"{DIGITS}{more}\n")
    with pytest.raises(SpecError) as error:
        trace(load(path))
    assert [(one.message, one.hint) for one in error.value.problems] == [(message, hint)]


@pytest.mark.parametrize(
    "more",
    [
        "train: {epochs: 1, ensemble: {members: 2}}\nexpect: {test/ensemble_error: {at_most: 0.1}}",
        "objective: {classification: {metrics: [f1]}}\nexpect: {train/f1: {at_least: 0.1}, valid/loss: {at_most: 9}}",
    ],
)
def test_a_claim_on_what_is_measured_is_taken(tmp_path, more):
    path = tmp_path / "s.yaml"
    path.write_text(f"{DIGITS}{more}\n")
    experiment = load(path)
    assert unmet(experiment, trace(experiment)) == []


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
    result = dlx("inspect", path)
    assert result.returncode == 1
    assert "1,490 parameters" in result.stdout
    assert f"{path}:8:3  expect.params: claims params 7, and it is 1,490" in result.stderr


def test_claims_are_about_the_spec_as_it_is_written_and_not_as_it_is_changed(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(claims="  params: 1490"))
    wider = dlx("inspect", path, "network.layers.conv_1.out_channels=8")
    asked = dlx("inspect", path, "++expect.params=7")

    assert wider.returncode == 0
    assert "1 claim is of the spec as written, and does not hold with these changes: params" in wider.stderr
    assert (asked.returncode, "claims params 7, and it is 1,490" in asked.stderr) == (1, True)


def test_claims_are_not_dropped_in_silence_where_another_input_is_asked_for(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.format(claims="  params: 1490\n  receptive_field: {conv_1: 3}"))
    larger = dlx("inspect", path, "--input", "1x9x9")
    assert larger.returncode == 0
    assert "1 claim is of the spec as written, and does not hold with these changes: params" in larger.stderr


def test_a_figure_may_be_worked_out_from_the_variables(tmp_path):
    experiment = spec(tmp_path, "  params: '${4 * 10 + 10 * 145}'\nvars: {}")
    assert [r.verdict for r in receipts(experiment, trace(experiment))] == ["holds"]

    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, "  params: {is: '${width}'}"))
    assert error.value.problems[0].message == "there is no variable `width` here"


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ("  params: .nan", "`is` must be a finite number, words or a list of those, not .nan"),
        ("  params: {conv_1: null}", "`is` must be a finite number, words or a list of those, not nothing"),
        ("  params: {at_least: 1e400}", "`at_least` must be a finite number, not .inf"),
        ("  params: {about: 1, within: -1}", "`within` must be a finite number of 0 and more, not -1"),
        ("  params: {is: 1490, source: [1]}", "`source` must be words, not [1]"),
        ("  params: {book: 1, is: 2, because: null}", "`because` must be words, not nothing"),
        ("  params: {}", "the claim states no figure"),
        ("  params: {source: page 3}", "the claim states no figure"),
        ("  params: {'': 3}", "a claim is about a name, and this one is empty"),
        ("  output: {at: 1, is: 1, of: [conv_1]}", '`of` must name a node, not ["conv_1"]'),
        ("  output: {at: 1, is: 1, at_least: 0}", "a claim has no `at_least`"),
    ],
)
def test_a_claim_that_nothing_could_be_held_against_is_a_mistake(tmp_path, claims, sentence):
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, claims))
    assert error.value.problems[0].message == sentence


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ("  count: {cnov: 0}", "there is no layer `cnov`. Did you mean `conv`?"),
        (
            "  figures: {a: {of: '${conv_1}', is: 1}}",
            "`conv_1` is no figure. Ask for a quantity: `${conv_1.params}`.",
        ),
        (
            "  figures: {a: {of: '${[conv_1]}', is: 1}}",
            "`conv_1` is no figure. Ask for a quantity: `${conv_1.params}`.",
        ),
    ],
)
def test_what_is_no_figure_of_the_network_fails_with_the_way_out(tmp_path, claims, why):
    experiment = spec(tmp_path, claims)
    assert [r.why for r in receipts(experiment, trace(experiment))] == [why]


def test_a_claim_that_stands_twice_is_told_at_the_second_line_with_the_first(tmp_path):
    with pytest.raises(SpecError) as error:
        trace(spec(tmp_path, "  loss:\n    - {at: 1, target: 1, is: 2}\n    - {at: 1, target: 1, is: 2}"))
    (problem,) = error.value.problems
    assert problem.message == "the claim `loss at 1 for 1` stands at line 9 too, word for word"
    assert problem.hint == "Drop one of them, or change what it claims."
    assert problem.path == "expect.loss.1"


def test_equal_figures_of_two_sources_are_two_claims(tmp_path):
    claims = "  params: [{is: 1490, source: by hand}, {is: 1490, source: table 1}]"
    experiment = spec(tmp_path, claims)
    assert [r.verdict for r in receipts(experiment, trace(experiment))] == ["holds", "holds"]


def test_near_is_meant_as_it_is_written_and_also_beyond_what_a_float_holds():
    assert near(3, 2.9, 0.1)  # 3 - 2.9 is more than 0.1 in floats
    assert near(0.17, 0.22, 0.05)
    assert not near(0.17, 0.2200001, 0.05)
    assert near(1e300, 10**300 + 7, 1e290)
    assert not near(1e300, 2**6000, 1e290)
    assert not near(0, float("nan"), 1)


def test_numbers_that_no_float_holds_are_written_by_their_first_digits():
    assert format_value(2**6000) == "1.513e+1806"  # 1513469..., of 1,807 digits
    assert format_value(-(2**6000)) == "-1.513e+1806"
    assert format_value(2**1000) == "1.072e+301"
    claim = Claim("paths", "", {"is": 5}, Node(5, Mark("s.yaml")), "expect.paths")
    assert Receipt(claim, "FAILS", 2**30000).as_json()["ours"] == "7.941e+9030"
