"""Variables and blocks that nothing uses change nothing, and are told."""

import pytest
from helpers import graph_of

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

BASE = """\
vars: {width: 8}
network:
  inputs: [4]
  layers: [{linear: "${width}"}]
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def warned(text: str) -> list[tuple[int, str, str]]:
    return [(one.mark.line, one.message, one.hint) for one in graph_of(text).warnings]


def test_a_misspelt_variable_over_that_of_another_file_is_a_mistake(base):
    over = base.with_name("over.yaml")
    over.write_text("defaults: [base]\nvars: {widht: 64}\n")
    with pytest.raises(SpecError) as error:
        trace(load(over))
    (problem,) = error.value.problems

    assert str(problem.mark) == f"{over}:2:8"
    assert problem.message == "nothing uses the variable `widht`"
    assert problem.hint == f"Did you mean `width` ({base}:1:8)?"


def test_a_misspelt_variable_of_an_override_is_a_mistake(base):
    with pytest.raises(SpecError) as error:
        trace(load(base, ["+vars.widht=64"]))
    (problem,) = error.value.problems

    assert (str(problem.mark), problem.path) == ("override `+vars.widht=64`", "vars.widht")
    assert problem.hint == f"Did you mean `width` ({base}:1:8)?"
    assert trace(load(base, ["vars.width=64"])).warnings == ()


def test_a_variable_that_nothing_uses_is_a_warning():
    assert warned(BASE.replace("width: 8", "width: 8, depth: 3")) == [
        (1, "nothing uses the variable `depth`", "Leave it out.")
    ]


@pytest.mark.parametrize(
    "more",
    [
        'expect: {params: {is: "${4 * depth + depth + 25}"}}',
        'blocks: {one: {layers: [{linear: "${depth}"}]}}\nfreeze: []',
        'train: {epochs: "${depth}"}',
    ],
)
def test_a_variable_that_an_expression_names_anywhere_is_used(more):
    found = warned(BASE.replace("width: 8", "width: 8, depth: 3") + more + "\n")
    assert not [message for _, message, _ in found if "variable" in message]


def test_variables_of_a_file_of_defaults_may_be_for_other_specs(base):
    base.write_text(BASE.replace("width: 8", "width: 8, depth: 3"))
    over = base.with_name("over.yaml")
    over.write_text("defaults: [base]\n")
    assert trace(load(over)).warnings == ()


BLOCKS = "blocks:\n  one: {layers: [relu]}\n  two: {layers: [one]}\n"


def test_a_block_that_nothing_uses_is_a_warning():
    assert warned(BASE + BLOCKS) == [(7, "nothing uses the block `two`", "Run it: `- two`.")]
    assert warned(BASE.replace('"}]', '"}, two]') + BLOCKS) == []


def test_a_block_that_an_expression_names_is_used():
    text = BASE.replace("width: 8", "width: 8, act: two").replace('"}]', '"}, "${act}"]')
    assert warned(text + BLOCKS) == []
