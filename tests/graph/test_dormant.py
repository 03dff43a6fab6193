"""Entries that run nowhere are read all the same: in blocks that nothing uses, and where a `when` is false."""

import pytest
from helpers import graph_of

from dlx.errors import SpecError

SPEC = """\
vars: {{norm: false, width: 8}}
network:
  inputs: [4]
  layers:
    - linear: "${{width}}"
      name: first
    - {asleep}
blocks:
  unused:
    args: {{units: 4}}
    layers:
      - {inside}
"""


def problems_of(asleep: str = "relu", inside: str = "relu") -> list[tuple[int, str, str]]:
    try:
        graph_of(SPEC.format(asleep=asleep, inside=inside))
    except SpecError as error:
        return [(one.mark.line, one.message, one.hint) for one in error.problems]
    return []


@pytest.mark.parametrize(
    "entry",
    [
        "{linear: '${units}', name: last}",
        "{conv: {out_channels: '${units * x.channels}', kernel_size: 3}, from: [prev, input]}",
        "{repeat: {times: 3, index: j, layers: [{linear: '${units + j}'}]}}",
        "{for: {rate: [1, 2]}, layers: [{linear: '${rate}', name: 'one_${rate}'}]}",
        "{residual: {layers: [relu], shortcut: [{linear: '${units}'}], merge: concat}}",
        "{parallel: {branches: {for: {rate: [1, 2]}, layers: [{linear: '${rate}'}]}}}",
        "{unused: 3, when: '${units > 9}'}",
        "{share: first}",
        "{layers: [{for: {h: [a, b]}, layers: [{linear: 4, name: 'head_${h}'}]}, {add: {}, from: [head_a, prev]}]}",
        "{layers: [{for: {h: [a]}, layers: [{linear: 4, name: '${h}'}]}, {linear: '${a[0]}', from: a}]}",
    ],
)
def test_what_could_run_is_no_mistake(entry):
    assert problems_of(inside=entry) == []


ASLEEP = ", when: '${norm}'}"


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        (
            "{batch_nrom: {}",
            "there is no layer or block `batch_nrom`",
            "Did you mean `batch_norm` or `batch_renorm`?",
        ),
        ("{linear: {out_feature: 3}", "`linear` has no field `out_feature`", "Did you mean `out_features`?"),
        ("{unused: {unit: 3}", "the block `unused` has no argument `unit`", "Did you mean `units`?"),
        ("{repeat: {tims: 3, layers: [relu]}", "`repeat` has no field `tims`", "Did you mean `times`?"),
        ("{residual: {layers: [rleu]}", "there is no layer or block `rleu`", "Did you mean `relu` or `rrelu`?"),
        (
            "{parallel: {branches: [[relu], [tanhh]]}",
            "there is no layer or block `tanhh`",
            "Did you mean `tanh` or `tanhshrink`?",
        ),
        (
            "{residual: {layers: [relu], merge: cnocat}",
            "there is no layer or block `cnocat`",
            "Did you mean `concat`?",
        ),
        ("{linear: '${widht}'", "there is no variable `widht` here", "Did you mean `width`?"),
        ("{add: {}, from: [prev, frist]", "there is no node `frist`", "Did you mean `first`?"),
        ("{share: frist", "there is no node `frist`", "Did you mean `first`?"),
        (
            "{layers: [{linear: 4, name: 'head_${width}'}, {add: {}, from: [haed_a, prev]}]",
            "there is no node `haed_a`",
            "There are first, input, norm, prev, units, width.",
        ),
    ],
)
def test_words_that_mean_nothing_are_told_where_they_stand(entry, message, hint):
    found = problems_of(asleep=entry + ASLEEP)
    assert [(line, said) for line, said, _ in found] == [(7, message)]
    assert [(line, said) for line, said, _ in problems_of(inside=entry + "}")] == [(12, message)]
    assert found[0][2] == hint


def test_a_mistake_that_runs_is_told_once():
    found = problems_of(
        asleep="{unused: 3}", inside="{residual: {layers: [rleu, {linear: {out_features: 2, bais: true}}]}}"
    )
    assert [(line, message) for line, message, _ in found] == [
        (12, "there is no layer or block `rleu`"),
        (12, "`linear` has no field `bais`"),
    ]
