"""Overrides that are not in Hydra's grammar: the slip by its name, and a way out that the grammar takes."""

import re

import pytest

from dlx.errors import SpecError
from dlx.spec.overrides import parse

IS_NOT = "is not in Hydra's override grammar: "
SLASH = "a `/` and a dot stand in one key"
COMMA = "a comma stands in its value with nothing beside it"
SLIPS = {
    "expect.test/error=0.1": (SLASH, "Set the mapping around it whole: `expect={test/error: 0.1}`."),
    "+init.by_name.match.a/b=zeros": (
        SLASH,
        "Set the mapping around it whole: `+init.by_name.match={a/b: zeros}`.",
    ),
    "network.layers.stem/conv_1.kernel_size=5": (
        SLASH,
        "What is inside another is reached by dots: `network.layers.stem.conv_1.kernel_size=5`.",
    ),
    "~network.layers.stem/conv_1": (
        SLASH,
        "What is inside another is reached by dots: `~network.layers.stem.conv_1`.",
    ),
    "train.epochs = 3": ("spaces stand about its `=`", "Write `train.epochs=3`."),
    "train epochs=3": (
        "a space stands in its key",
        "A key is words with dots between them: `train.batch_size=64`.",
    ),
    "--train.epochs=3": ("it begins as an option does", "A change of the spec has no dashes: `train.epochs=3`."),
    "train.epochs:3": ("`:` stands behind `train.epochs`", "Between key and value stands `=`: `train.epochs=3`."),
    "train.epochs==3": ("it has two `=`", "One is enough: `train.epochs=3`."),
    "data.digits.classes[0]=3": (
        "brackets stand in its key",
        "Items of a list count from 0, behind a dot: `data.digits.classes.0=3`.",
    ),
    "network.layers.-1=relu": (
        "an item has a number below 0",
        "Items of a list count from 0, layers have names too.",
    ),
    "network.inputs=[3,": (
        "the `[` in its value is not closed",
        "Write `]` where it ends; the shell wants quotes about it all.",
    ),
    "train.optimizer={adam:": (
        "the `{` in its value is not closed",
        "Write `}` where it ends; the shell wants quotes about it all.",
    ),
    "network.inputs=(3,4)": ("a list stands in round brackets", "Write `network.inputs=[3,4]`."),
    'expect={"test/error": 0.3}': (
        "a key of its mapping stands in quotes",
        "Keys of a mapping have none: `{test/error: 0.1}`.",
    ),
    "train.optimizer={adam=1}": ("`=` stands in its mapping", "Write `:` in it: `train.optimizer={adam: 1}`."),
    "train.optimizer={adam}": (
        "its mapping has a key without a value",
        "Write `{key: value}`, or a list `[a, b]`.",
    ),
    "train.optimizer={adam:{lr}}": (
        "its mapping has a key without a value",
        "Write `{key: value}`, or a list `[a, b]`.",
    ),
    "train.optimizer={adam:{lr:}}": (
        "its mapping has a key without a value",
        "Write `{key: value}`, or a list `[a, b]`.",
    ),
    "vars={a: [1, 2], b}": ("its mapping has a key without a value", "Write `{key: value}`, or a list `[a, b]`."),
    "vars.b=1,": (COMMA, "Write `vars.b=1`, or what is missing."),
    "vars.b=,1": (COMMA, "Write `vars.b=1`, or what is missing."),
    "vars.b=[1,,2]": (COMMA, "Write `vars.b=[1,2]`, or what is missing."),
    "vars.b=[1,{a:2,},]": (COMMA, "Write `vars.b=[1,{a:2}]`, or what is missing."),
    "vars.b=['a',]": (COMMA, "Drop it, or write what is missing."),
    "vars.b=,": (COMMA, "Write its value."),
    "vars.b=f(": (
        "the `(` in its value is not closed",
        "Write `)` where it ends; the shell wants quotes about it all.",
    ),
    "name=it's": ("a quote in its value has no partner", "Put the whole text into quotes: `'name=\"it's\"'`."),
    "name=a=b": ("`=` stands in its value", "Such a text wants quotes of its own: `'name=\"a=b\"'`."),
    "name=a;b": ("`;` stands in its value", "Such a text wants quotes of its own: `'name=\"a;b\"'`."),
    'name="a" b': (
        "` ` stands where nothing like it can",
        "Overrides read `key=value`, `+key=value` (new), `~key` (drop); quote lists and spaces for the shell.",
    ),
}


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_has_its_name_and_a_way_out_that_can_be_followed(text):
    what, hint = SLIPS[text]
    with pytest.raises(SpecError) as error:
        parse(text)
    (problem,) = error.value.problems
    assert (str(problem.mark), problem.message, problem.hint) == (f"override `{text}`", IS_NOT + what, hint)
    shown = re.findall(r"`([^`]*=[^`]*|~[^`]*)`", hint) if problem.hint[:9] != "Overrides" else []
    for way in shown:
        if len(way) > 1:
            parse(way.strip("'"))  # what is shown can be typed
