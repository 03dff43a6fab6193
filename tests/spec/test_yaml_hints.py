"""Text that is no YAML: the mistake is told where it was made, with the way out, wherever libyaml stopped."""

from textwrap import dedent

import pytest

from dlx.errors import SpecError
from dlx.spec.syntax.yaml_causes import cause_before
from dlx.spec.syntax.yaml_reader import parse_yaml

QUOTE = 'is not valid YAML: the quote `"` that opens here is not closed'
BROKEN = {
    "the end of a quote is lost, and the next one ends it": (
        """
        - linear: "${a}
        - relu
        - linear: "${a}"
        """,
        (1, 11, QUOTE, 'Write `"` where the text ends.'),
    ),
    "the end of a quote is lost on the way to another key": (
        'name: "my thing\nsource: "Book, page 3"',
        (1, 7, QUOTE, 'Write `"` where the text ends.'),
    ),
    "the end of a quote is lost, and nothing ends it": (
        "a: 1\nname: 'it''s\nnetwork: {}",
        (2, 7, "is not valid YAML: the quote `'` that opens here is not closed", "Write `'` where the text ends."),
    ),
    "the beginning of a quote is lost in braces": (
        'vars: {a: ${b}", c: 3}',
        (
            1,
            11,
            "is not valid YAML: the expression that begins here has no quotes",
            'An expression inside {...} or [...] wants quotes: {width: "${w}"}.',
        ),
    ),
    "a list is not closed": (
        "network:\n  inputs: [4\n  layers:\n    - relu",
        (2, 11, "is not valid YAML: the `[` that opens here is not closed", "Write `]` where it ends."),
    ),
    "a mapping is not closed, and the next line is an entry of its list": (
        "- linear: {out_features: 3\n- relu",
        (1, 11, "is not valid YAML: the `{` that opens here is not closed", "Write `}` where it ends."),
    ),
    "a list is not closed, and the next line is a key beside its own": (
        "- at: [0.75\n  is: 3\n- at: [1]",
        (1, 7, "is not valid YAML: the `[` that opens here is not closed", "Write `]` where it ends."),
    ),
    "a colon is lost before a text that has one": (
        'source "arXiv:1512.03385"\nname: a',
        (
            1,
            1,
            "is not valid YAML: mapping values are not allowed in this context",
            "Line 1: put a colon behind `source`.",
        ),
    ),
    "a colon is lost above a line with braces": (
        "expect:\n  depth 20\n  params: {is: 3, source: a}",
        (
            2,
            3,
            "is not valid YAML: mapping values are not allowed in this context",
            "Line 2: put a colon behind `depth`.",
        ),
    ),
    "a mapping is not closed at the end": (
        "a: 1\nb: {c: [1, 2]",
        (2, 4, "is not valid YAML: the `{` that opens here is not closed", "Write `}` where it ends."),
    ),
    "a list is closed as a mapping": (
        "a: {b: [4}",
        (1, 8, "is not valid YAML: the `[` that opens here is not closed", "Write `]` where it ends."),
    ),
    "a bracket too many": (
        "a: [4]]\nb: 1",
        (1, 7, "is not valid YAML: the `]` closes nothing", "Drop it, or open it above."),
    ),
    "a comma is lost at the end of a line": (
        "a: [\n  {linear: 3}   # the first\n  relu,\n]",
        (
            2,
            13,
            "is not valid YAML: did not find expected ',' or ']'",
            "A comma is missing at the end of line 2.",
        ),
    ),
    "a comma is lost between two keys": (
        "a: {out_features: 3 bias: false}",
        (
            1,
            25,
            "is not valid YAML: did not find expected ',' or '}'",
            "Inside {...} and [...] a comma stands between two entries, and a text with `: ` wants quotes.",
        ),
    ),
    "a colon is lost, and the line below is refused": (
        "train:\n  epochs 3\n  batch_size: 4",
        (
            2,
            3,
            "is not valid YAML: mapping values are not allowed in this context",
            "Line 2: put a colon behind `epochs`.",
        ),
    ),
    "the space behind a colon is lost": (
        "train:\n  epochs:3\n  batch_size: 4",
        (
            2,
            3,
            "is not valid YAML: mapping values are not allowed in this context",
            "Line 2: put a space behind `epochs:`.",
        ),
    ),
    "a line is indented otherwise": (
        "network:\n  inputs: [4]\n   layers: []",
        (
            3,
            4,
            "is not valid YAML: did not find expected key",
            "Line 3 is indented unlike the lines around it, or has a second `:`, which wants quotes.",
        ),
    ),
}


@pytest.mark.parametrize(("text", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_yaml_is_told_where_the_mistake_is(text, told):
    with pytest.raises(SpecError) as error:
        parse_yaml(dedent(text).strip("\n"), "s.yaml")
    (problem,) = error.value.problems
    assert (problem.mark.line, problem.mark.column, problem.message, problem.hint) == told


RIGHT = """
source: |
  it's "a
  [b} text
folded: >-
  don't
title: "a long
  text: goes - on"
name: it's a book (see [1]) # with a "quote
other: 'it''s "one"'
url: http://a.b/c#d
list: [a b, "c, d", {e: 'f]', g: [1,
  2]}, h"i]
tagged: !!str "x"
layers: [
  {linear: 3},   # the [first
]
network
"""


def test_what_is_right_above_a_mistake_is_not_taken_for_it():
    with pytest.raises(SpecError) as error:
        parse_yaml(RIGHT.strip("\n"), "s.yaml")
    (problem,) = error.value.problems
    assert problem.hint == "Line 17: put a colon behind `network`."
    assert problem.mark.line == 17
    assert cause_before(RIGHT, len(RIGHT)) is None


def test_a_text_of_many_lines_is_scanned_in_the_time_of_its_length():
    nested = "a: |\n  b\n" * 20_000 + "c: [1"
    cause = cause_before(nested, len(nested))
    assert cause is not None
    assert cause.index == len(nested) - 2
    assert cause_before("a: [" + "x" * 2_000_000, 2_000_004) is None  # a longer one has the sentence of libyaml
