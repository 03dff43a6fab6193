"""`when` of a key that varies: it is part of a point only for some values of another key."""

import json

import pytest
from studies import swept
from test_samplers import ALL, made, searched

from dlx.errors import SpecError
from dlx.spec import load
from dlx.sweeps.importance import dimensions_of
from dlx.sweeps.space import Space

SPEC = """
name: c
vars: {depth: 1, width: 8, rate: 0}
data: {digits: {train: 60, valid: 40}}
network:
  layers:
    - flatten
    - repeat: {times: "${depth}", layers: [{linear: "${width}"}, relu]}
    - dropout: ${rate}
    - linear: 10
train: {steps: 3, batch_size: 20}
track: {mlflow: false}
sweep:
  space:
    vars.width: {values: [4, 8, 16], when: {vars.depth: [1, 2]}}
    vars.depth: [0, 1, 2]
    vars.rate: {values: "interval(0.1, 0.5)", when: {vars.width: 16}}
"""


def spec_of(folder, *changes):
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "c.yaml").write_text(text)
    return load(folder / "c.yaml")


def space_of(folder, *changes):
    return Space.of(spec_of(folder, *changes))[0]


STEPPED = ('"interval(0.1, 0.5)"', "[0.1, 0.2]")


def test_the_grid_has_each_key_where_its_condition_holds_alone(tmp_path):
    """By hand: depth 0; depth 1 and 2 with width 4, 8, and with 16 at two rates. Without the conditions 18."""
    space = space_of(tmp_path, STEPPED)
    points = list(space.grid())
    by_hand = [{"vars.depth": 0}]
    for depth in (1, 2):
        by_hand += [{"vars.depth": depth, "vars.width": width} for width in (4, 8)]
        by_hand += [{"vars.depth": depth, "vars.width": 16, "vars.rate": rate} for rate in (0.1, 0.2)]
    key = lambda point: json.dumps(point, sort_keys=True)  # noqa: E731
    assert sorted(points, key=key) == sorted(by_hand, key=key)
    assert space.size == len(points) == 9
    plain = space_of(tmp_path, STEPPED, (", when: {vars.depth: [1, 2]}", ""), (", when: {vars.width: 16}", ""))
    assert plain.size == 18


def test_what_is_inactive_stays_as_the_spec_has_it(tmp_path):
    space = space_of(tmp_path)
    point = space.active({"vars.depth": 0, "vars.width": 16, "vars.rate": 0.3})
    assert space.overrides(point) == ["vars.depth=0"]
    assert space.overrides({"vars.depth": 2, "vars.width": 16, "vars.rate": 0.25})[2] == "vars.rate=0.25"
    assert not space.holds({"vars.depth": 1, "vars.width": 4, "vars.rate": 0.25})


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow if k == "gp" else ()) for k in ALL])
def test_samplers_keep_to_conditions(tmp_path, kind):
    space = space_of(tmp_path, STEPPED)
    history = searched(made(kind), space, lambda point: point["vars.depth"] + point.get("vars.rate", 0), 2, 4)
    points = [trial.point for trial in history]
    assert len(points) == 8
    assert all(space.holds(point) for point in points)
    assert {len(point) for point in points} > {1}  # the twin without conditions has three keys in each
    plain = space_of(tmp_path, STEPPED, (", when: {vars.depth: [1, 2]}", ""), (", when: {vars.width: 16}", ""))
    assert {len(point) for point in [*plain.grid()]} == {3}


def test_a_sweep_leaves_the_cells_of_inactive_keys_empty(tmp_path):
    spec_of(tmp_path, STEPPED, ("vars.depth: [0, 1, 2]", "vars.depth: [0, 1]"), ("[1, 2]}}", "[1]}}"))
    found = swept(tmp_path / "c.yaml", tmp_path / "runs")
    points = [trial.point for trial in found.study.points()]
    assert len(points) == 5
    assert {"vars.depth": 0} in points
    again = swept(tmp_path / "c.yaml", tmp_path / "runs")
    assert again.study.folder == found.study.folder
    space = json.loads((found.study.folder / "study.jsonl").read_text().splitlines()[0])
    assert "when" in json.dumps(space)
    assert [one.key for one in dimensions_of(found.study.identity["space"])] == [
        "vars.depth",
        "vars.width",
        "vars.rate",
    ]


def sentences(folder, *changes):
    with pytest.raises(SpecError) as error:
        space_of(folder, *changes)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("when: {vars.width: 16}", "when: {vars.widht: 16}"),
         "`when` of `vars.rate` names `vars.widht`, which does not vary\n  Did you mean `vars.width`"),
        (("when: {vars.width: 16}", "when: {vars.width: 32}"),
         "`when` of `vars.rate` wants `vars.width` to be 32, which it is never\n  It varies over 4, 8, 16."),
        (("vars.depth: [0, 1, 2]", "vars.depth: {values: [0, 1, 2], when: {vars.width: 4}}"),
         "`when` of `vars.width` comes back to itself"),
        (("when: {vars.depth: [1, 2]}", "when: 3"), "`when` of `vars.width` names no key that varies"),
        (("values: [4, 8, 16]", "value: [4, 8, 16]"),
         "`vars.width` has `value` beside `when`, and takes `values` and `when`\n  Did you mean `values`?"),
        (("{values: [4, 8, 16], when: {vars.depth: [1, 2]}}", "{when: {vars.depth: 1}}"),
         "has a `when` and no `values`"),
        (("when: {vars.depth: [1, 2]}", "when: {vars.rate: 0.2}"), "which is an interval without steps"),
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_are_refused(tmp_path, change, sentence):
    assert sentence in sentences(tmp_path, change)
