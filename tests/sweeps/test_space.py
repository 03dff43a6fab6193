"""What may vary: the grammar of a sweep, its points, and each point as a spec."""

import json
import math
from random import Random
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load
from dlx.sweeps.feasible import Planner
from dlx.sweeps.plan import plan
from dlx.sweeps.space import Choices, NumberRange, Space, hydra_text, name_of

SPEC = """
name: small
vars: {width: 8, depth: 2}
data: digits
network:
  layers:
    - flatten
    - repeat:
        times: ${depth}
        layers: [{linear: "${width}"}, relu]
    - linear: 10
      name: last
train: {epochs: 3, optimizer: {adam: {lr: 0.01}}}
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spec")
    (folder / "data").mkdir()
    (folder / "data" / "few.yaml").write_text("digits: {valid: 0.2}\n")
    (folder / "data" / "lines.yaml").write_text("shapes: {}\n")
    (folder / "data" / "many.yaml").write_text("digits: {valid: 0.1}\n")
    path = folder / "small.yaml"
    path.write_text(SPEC)
    return path


def space_of(spec, *changes):
    return Space.of(load(spec), changes)[0]


def only(spec, change):
    (dimension,) = space_of(spec, change).dimensions
    return dimension


def messages(spec, *changes):
    with pytest.raises(SpecError) as error:
        Space.of(load(spec), changes)
    return str(error.value)


# --- the grammar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train.batch_size=16,32", [16, 32]),
        ("train.batch_size=choice(16, 32)", [16, 32]),
        ("train.batch_size=range(1,4)", [1, 2, 3]),
        ("train.batch_size=range(3)", [0, 1, 2]),
        ("train.batch_size=range(4,0,-2)", [4, 2]),
        ("train.batch_size=range(1,10,4)", [1, 5, 9]),
        ("train.optimizer.adam.lr=range(0.1,0.4,0.1)", [0.1, 0.2, 0.3]),
        ("train.optimizer.adam.lr=float(range(1,3))", [1.0, 2.0]),
        ("train.batch_size=int(choice(1.5, 2.5))", [1, 2]),
        ("train.batch_size=sort(3,1,2)", [1, 2, 3]),
        ("train.batch_size=sort(3,1,2,reverse=true)", [3, 2, 1]),
        ("train.batch_size=int(interval(2,4))", [2, 3, 4]),
        ("train.batch_size=tag(log,int(interval(2,4)))", [2, 3, 4]),
        ("train.shuffle=true,false", [True, False]),
        ("train.optimizer=sgd,adam", ["sgd", "adam"]),
        ("train.optimizer=choice({sgd:{lr:0.1}},adam)", [{"sgd": {"lr": 0.1}}, "adam"]),
        ("train.clip_norm=null,1", [None, 1]),
        ("network.layers.last.bias=true,false", [True, False]),
        ("network/layers/last/linear=10,10.5", [10, 10.5]),
        ("data=glob(*)", ["few", "lines", "many"]),
        ("data=glob(*,exclude=l*)", ["few", "many"]),
        ("data=glob([f*,m*])", ["few", "many"]),
    ],
)
def test_hydras_grammar_is_read(spec, text, values):
    assert list(only(spec, text)) == values


def test_a_shuffled_choice_has_an_order_of_its_own_that_stays(spec):
    first = list(only(spec, "train.batch_size=shuffle(range(1,20))"))
    assert first != sorted(first) == list(range(1, 20))
    assert first == list(only(spec, "train.batch_size=shuffle(range(1,20))"))


def test_an_interval_has_both_of_its_ends_and_no_size(spec):
    rate = only(spec, "train.optimizer.adam.lr=tag(log, interval(1e-4, 1e-1))")
    assert rate == NumberRange("train.optimizer.adam.lr", 1e-4, 1e-1, log=True)
    assert (rate.at(0), rate.at(1), rate.size) == (1e-4, 1e-1, None)
    assert rate.at(1 / 3) == 0.001  # a third of three orders of magnitude
    assert space_of(spec, "train.optimizer.adam.lr=interval(0.1,1)", "train.batch_size=1,2").size is None


def test_a_sampled_number_has_six_digits_so_that_it_can_be_read(spec):
    sampled_rate = only(spec, "train.optimizer.adam.lr=interval(0, 1)").at(math.pi / 10)
    assert sampled_rate == 0.314159


def test_the_spec_may_say_what_varies_and_a_list_is_a_choice(spec):
    text = dedent("""
        sweep:
          space:
            train.optimizer.adam.lr: "tag(log, interval(1e-4, 1e-1))"
            vars.width: [8, 16]
    """)
    path = spec.parent / "said.yaml"
    path.write_text(SPEC + text)
    space, plain = Space.of(load(path), [])
    assert space.as_json() == {
        "vars.width": {"choice": [8, 16]},
        "train.optimizer.adam.lr": {"low": 1e-4, "high": 0.1, "log": True},
    }
    assert plain == []
    joined, plain = Space.of(load(path), ["vars.width=1,2,3", "vars.depth=1,2", "train.epochs=5"])
    assert [d.key for d in joined.dimensions] == ["train.optimizer.adam.lr", "vars.width", "vars.depth"]
    assert joined.by_key["vars.width"].values == (1, 2, 3)
    assert plain == ["train.epochs=5"]
    fixed, plain = Space.of(load(path), ["vars.width=4"])
    assert ([d.key for d in fixed.dimensions], plain) == (["train.optimizer.adam.lr"], ["vars.width=4"])


def test_a_key_that_the_spec_does_not_have_yet_is_added_with_a_plus(spec):
    space = space_of(spec, "+vars.height=1,2")
    assert space.overrides({"vars.height": 2}) == ["+vars.height=2"]
    assert load(spec, space.overrides({"vars.height": 2})).vars["height"] == 2


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ("train.epohcs=1,2", ["`train` has no field `epohcs`", "Did you mean `epochs`?"]),
        ("trian.epochs=1,2", ["a spec has no `trian`", "Did you mean `train`"]),
        ("vars.witdh=1,2", ["there is no `vars.witdh` to override", "Did you mean `width`?"]),
        ("network.layers.lats.bias=true,false", ["there is no layer `lats` to override", "Did you mean `last`?"]),
        ("network.layers.last.bais=true,false", ["`linear` has no field `bais`", "Did you mean `bias`?"]),
        ("train.optimizer.sgd.lr=1,2", ["`train.optimizer` holds `adam`, and no `sgd` beside it"]),
        ("train.batch_size=one,two", ["`batch_size` must be a whole number"]),
        ("train.batch_size=range(9,1)", ["range(9, 1) has no values", "Did you mean `range(1, 9)`?"]),
        ("train.batch_size=range(3,3)", ["range(3, 3) has no values"]),
        ("train.batch_size=range(1,9,0)", ["has a step of 0"]),
        ("train.batch_size=interval(9,1)", ["interval(9, 1) is reversed", "Did you mean `interval(1, 9)`?"]),
        ("train.batch_size=interval(1,1)", ["interval(1, 1) is a single value", "Write `train.batch_size=1`."]),
        ("train.clip_norm=interval(0,inf)", ["wants finite bounds"]),
        ("train.clip_norm=range(0,inf)", ["wants finite numbers"]),
        ("train.clip_norm=tag(log,interval(0,1))", ["interval(0, 1) has no logarithm at 0", "Start above 0"]),
        ("train.clip_norm=tag(log,range(1,9,2))", ["has even steps of 2, and no logarithm"]),
        ("train.clip_norm=tag(log,choice(1,2))", ["`log` is for numbers between two bounds"]),
        ("train.clip_norm=tag(lgo,interval(1,2))", ["there is no tag `lgo`"]),
        ("train.seed=chioce(1,2)", ["there is no function `chioce`", "Did you mean `choice`?"]),
        ("train.seed=1,2,1.0", ["has 1.0 twice", "Each value is tried once"]),
        ("train.seed=choice(1", ["is not in Hydra's override grammar"]),
        ("data=glob(x*)", ["`x*` picks none of the 3 options of `data`", "few, lines, many"]),
        ("objective=glob(*)", ["there is no config group `objective`"]),
        ("name=a,b", ["`name` is the same for all trials, and cannot vary"]),
        ("sweep.seed=1,2", ["`sweep` is the same for all trials, and cannot vary"]),
        ("train.seeds=1,5", ["says how many trainings each trial is the mean of", "Write `sweep: {seeds: 3}`"]),
        ("~train.seed=1,2", ["lets a key vary that it drops"]),
        ("train.seed@there=1,2", ["puts elsewhere"]),
        ("train.seed=shuffle(range(0,10000000))", ["10,000,000 values"]),
        ("train.epochs=5", ["nothing varies", "Write `train.optimizer.adam.lr=0.1,0.01`"]),
    ],
)
def test_what_cannot_vary_is_reported(spec, change, sentences):
    said = messages(spec, change)
    for sentence in sentences:
        assert sentence in said
    assert said.count("\n") <= 3, "one mistake is one problem"


def test_all_mistakes_are_reported_at_once_each_at_its_override(spec):
    said = messages(spec, "train.epohcs=1,2", "train.batch_size=range(9,1)", "train.sede=3", "train.seed=3,4")
    assert said.count("override `") == 2
    assert "override `train.epohcs=1,2`" in said
    assert "override `train.batch_size=range(9,1)`" in said


def test_the_same_key_in_two_overrides_is_reported(spec):
    assert "`train.seed` varies in two overrides" in messages(spec, "train.seed=1,2", "train/seed=3,4")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("5", "`train.seed` does not vary: it is 5"),
        ("some words", "does not vary"),
        ("range(9, 1)", "range(9, 1) has no values"),
        ("{a: 1}", "does not vary"),
        ("[]", "is a choice of nothing"),
        ("[1, 1]", "has 1 twice"),
        ("null", "does not vary: it is nothing"),
    ],
)
def test_what_is_wrong_in_the_section_is_reported_at_its_line(spec, value, sentence):
    path = spec.parent / "wrong.yaml"
    path.write_text(SPEC + f"sweep:\n  space:\n    train.seed: {value}\n")
    with pytest.raises(SpecError) as error:
        trace(load(path))
    (problem,) = error.value.problems
    assert sentence in problem.message
    assert str(problem.mark).endswith("wrong.yaml:16:5")


def test_a_key_of_the_section_that_the_spec_does_not_have_is_reported_at_its_line(spec):
    path = spec.parent / "wrong.yaml"
    path.write_text(SPEC + "sweep:\n  space:\n    train.sede: [1, 2]\n")
    with pytest.raises(SpecError) as error:
        Space.of(load(path), [])
    assert "wrong.yaml:16:5  train" in str(error.value)
    assert "`train` has no field `sede`" in str(error.value)


def test_a_value_that_makes_no_network_does_not_stand_against_the_others(spec):
    space = space_of(spec, "vars.width=choice(0,8)", "network.layers.last.linear=10,9")
    assert space.size == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{sampler: tpee}", "there is no sampler `tpee`"),
        ("{sampler: {tpe: {startup: -1}}}", "`startup` must be at least 0, not -1"),
        ("{sampler: {tpe: {populaton: 5}}}", "`tpe` has no field `populaton`"),
        ("{scheduler: ahsa}", "there is no scheduler `ahsa`"),
        ("{scheduler: {asha: {reduction_factor: 1}}}", "`reduction_factor` must be at least 2, not 1"),
        ("{trials: 0}", "`trials` must be above 0, not 0"),
        ("{tirals: 5}", "`sweep` has no field `tirals`"),
        ("{budget: soon}", "`budget` must be a time such as 90s"),
        ("{space: [1, 2]}", "`space` must be a mapping"),
    ],
)
def test_what_is_wrong_with_the_search_itself_is_reported_at_its_line(spec, text, sentence):
    path = spec.parent / "wrong.yaml"
    path.write_text(SPEC + f"sweep: {text}\n")
    with pytest.raises(SpecError) as error:
        trace(load(path))
    (problem,) = error.value.problems
    assert sentence in problem.message
    assert problem.mark.line == 14


def test_the_schema_knows_the_section(spec):
    from jsonschema import Draft7Validator

    from dlx.spec.schema import schema

    validator = Draft7Validator(schema())
    sweep = {
        "space": {"vars.width": "1,2", "vars.depth": [1, 2]},
        "sampler": {"tpe": {"startup": 5}},
        "scheduler": "asha",
        "constraints": ["params <= 5"],
        "metric": ["valid/error", "params"],
        "budget": "30m",
    }
    whole = {"network": {"layers": ["relu"]}}
    assert validator.is_valid(whole | {"sweep": sweep})
    assert validator.is_valid(whole | {"sweep": sweep | {"sampler": "cma_es", "scheduler": {"median": {}}}})
    assert not validator.is_valid(whole | {"sweep": sweep | {"sampler": "tpee"}})
    assert not validator.is_valid(whole | {"sweep": sweep | {"tirals": 5}})


# --- points ---------------------------------------------------------------------------------------------------------


def test_the_grid_has_every_point_once_and_the_last_key_moves_first(spec):
    space = space_of(spec, "vars.width=8,16", "vars.depth=range(1,4)")
    assert [tuple(p.values()) for p in space.grid()] == [(8, 1), (8, 2), (8, 3), (16, 1), (16, 2), (16, 3)]
    assert space.size == 6


def test_a_key_below_a_choice_is_part_of_a_point_only_where_it_has_a_place(spec):
    space = space_of(
        spec, "train.optimizer=sgd,adam", "train.optimizer.sgd.momentum=0,0.9", "train.optimizer.adam.lr=0.1,0.01,1"
    )
    points = list(space.grid())
    assert space.size == len(points) == 5
    assert {"train.optimizer": "sgd", "train.optimizer.sgd.momentum": 0.9} in points
    assert all(("train.optimizer.adam.lr" in p) == (p["train.optimizer"] == "adam") for p in points)
    for point in points:
        assert trace(load(spec, space.overrides(point)))


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe", "quasi_random"])
def test_what_one_optimizer_alone_has_is_searched_with_it_alone(spec, sampler):
    changes = ["train.optimizer=adam,sgd", "train.optimizer.sgd.momentum=0.5,0.9"]
    made = plan(spec, [*changes, f"++sweep.sampler={sampler}"], spec.parent / "runs", trials=12)
    points = made.sampler.ask(made.space, [], 12, 0, made.metrics, made.rising)

    assert {point["train.optimizer"] for point in points} == {"adam", "sgd"}
    for point in points:
        assert ("train.optimizer.sgd.momentum" in point) == (point["train.optimizer"] == "sgd")
        made.base.changed(made.space.overrides(point))
    if sampler == "grid":
        assert len(points) == made.space.size == 3


def test_a_key_does_not_replace_a_kind_that_its_parent_has_by_default(spec):
    """`classification` has the cross-entropy by default: gamma, of focal, is none of its."""
    changes = [
        "objective=classification,{classification:{loss:focal}}",
        "objective.classification.loss.focal.gamma=1,2",
    ]
    points = list(Space.of(load(spec), changes)[0].grid())

    assert [point.get("objective.classification.loss.focal.gamma") for point in points] == [None, 1, 2]
    assert points[0] == {"objective": "classification"}


def test_keys_stand_in_the_order_in_which_they_were_written_but_below_what_they_hang_on(spec):
    space = space_of(
        spec, "train.optimizer.sgd.lr=1,2", "vars.width=1,2", "train.optimizer=sgd,adam", "vars.depth=1,2"
    )
    assert [d.key for d in space.dimensions] == [
        "train.optimizer", "train.optimizer.sgd.lr", "vars.width", "vars.depth",
    ]  # fmt: skip


def test_a_key_below_a_choice_that_has_a_place_nowhere_is_reported(spec):
    said = messages(spec, "train.optimizer=sgd,adam", "train.optimizer.lion.lr=0.1,0.2")
    assert "`train.optimizer` holds `sgd`, and no `lion` beside it" in said


def test_neighbours_differ_in_one_step_or_one_word(spec):
    space = space_of(
        spec, "vars.width=64,8,16", "train.optimizer=sgd,adam,lion", "train.batch_size=range(10,40,10)",
        "train.clip_norm=tag(log,interval(0.1,10))",
    )  # fmt: skip
    point = {"vars.width": 16, "train.optimizer": "adam", "train.batch_size": 10, "train.clip_norm": 1.0}
    moved = [{k: v for k, v in near.items() if v != point[k]} for near in space.neighbours(space.normalized(point))]
    assert moved == [
        {"vars.width": 8},
        {"vars.width": 64},
        {"train.optimizer": "sgd"},
        {"train.optimizer": "lion"},
        {"train.batch_size": 20},
        {"train.clip_norm": 0.630957},
        {"train.clip_norm": 1.58489},
    ]


def test_below_a_number_there_is_nothing_to_vary(spec):
    assert "is a single value and has nothing below it" in messages(
        spec, "vars.width=range(1,9)", "vars.width.of=1,2"
    )


def test_true_and_1_are_two_values_of_one_key():
    dimension = Choices("a", (True, 1, "1"))
    assert [dimension.index(v) for v in (True, 1.0, "1")] == [0, 1, 2]
    assert [v is True for v in dimension.near(1)] == [True, False]


def test_a_space_is_json_and_comes_out_the_same_each_time(spec):
    changes = ["train.optimizer=sgd,adam", "vars.width=range(2,9,2)", "train.clip_norm=interval(0.5,1)"]
    one, two = (json.dumps(space_of(spec, *changes).as_json()) for _ in range(2))
    assert one == two
    assert "optimizer" in one


def test_the_same_value_has_the_same_name_and_true_is_not_1():
    assert name_of({"a": 8.0}) == name_of({"a": 8})
    assert name_of({"a": True}) != name_of({"a": 1})
    assert name_of({"a": {"x": 1, "y": 2}}) == name_of({"a": {"y": 2, "x": 1}})
    assert name_of({"a": "1"}) != name_of({"a": 1})


def a_choice(values):
    return f"choice({','.join(map(repr, values))})"


def a_range(low, step, count):
    return f"range({low!r},{low + count * step!r},{step!r})"


def an_interval(low, width):
    return f"interval({low!r},{low + width!r})"


NUMBERS = st.one_of(
    st.builds(a_range, st.integers(1, 50), st.integers(1, 9), st.integers(1, 6)),
    st.lists(st.integers(1, 500), min_size=1, max_size=5, unique=True).map(a_choice),
    st.builds(an_interval, st.integers(1, 9), st.integers(1, 5)).map("int({})".format),
)
RATES = st.one_of(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=4, unique=True).map(a_choice),
    st.builds(an_interval, st.floats(1e-6, 1), st.floats(1e-3, 9)).map("tag(log,{})".format),
    st.builds(a_range, st.floats(1e-6, 1), st.floats(0.01, 1), st.integers(2, 5)),
)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_point_goes_through_overrides_and_comes_back(spec, data):
    texts = {
        "vars.width": data.draw(NUMBERS),
        "train.batch_size": data.draw(NUMBERS),
        "train.optimizer.adam.lr": data.draw(RATES),
        "train.decay": data.draw(st.sampled_from(["choice(all,weights)", "choice('all')"])),
    }
    experiment = load(spec)
    space, _ = Space.of(experiment, [f"{key}={text}" for key, text in texts.items()])
    planner = Planner(experiment, space)
    rng = Random(0)
    points = [p for p, _ in zip(space.grid(), range(4), strict=False)] + [space.draw(rng) for _ in range(4)]
    for point in points:
        assert space.holds(point)
        assert json.loads(json.dumps(point)) == point
        through = load(spec, space.overrides(point))
        for key, value in point.items():
            assert through.root.at(*key.split(".")).plain() == value
        planned = planner.experiment(point)
        assert planned.resolved() == through.resolved()
        assert trace(planned).params == trace(through).params


KEYS = st.from_regex(r"[a-z]{1,2}_[a-z]{0,3}", fullmatch=True)
PLAIN = (
    st.text(max_size=12),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
WORDS = st.recursive(
    st.one_of(*PLAIN),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(WORDS)
def test_any_value_is_written_so_that_hydra_reads_it_back(value):
    from dlx.spec.hydra_grammar import plain
    from dlx.spec.overrides import parse

    assert plain(parse(f"key={hydra_text(value)}").value()) == value


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1), st.integers(1, 40), st.integers(0, 100), st.integers(1, 9))
def test_each_share_of_a_range_is_one_of_its_values(share, count, low, step):
    dimension = NumberRange("a", low, low + (count - 1) * step, step)
    assert dimension.at(share) in list(dimension)
    assert dimension.size == len(list(dimension)) == count
    assert all(dimension.holds(v) and dimension.nearest(v) == v for v in dimension)
    ordered = Choices("a", tuple(dimension))
    assert ordered.at(share) == dimension.at(share)


LONG = ["train.seed=range(0,100000000000)"]


def test_a_grid_longer_than_anybody_waits_for_is_refused_with_its_size(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("data: {digits: {valid: 0.2}}\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {epochs: 1}\n")
    with pytest.raises(SpecError) as error:
        plan(path, LONG, tmp_path)
    assert str(error.value) == (
        "override `train.seed=range(0,100000000000)`  sweep.space\n"
        "  the grid has 100,000,000,000 points, and 100,000 are the most that are tried one by one\n"
        "  Say how many to try, `--trials 64`, or give the ranges larger steps."
    )
    assert plan(path, [*LONG, "++sweep.sampler=grid"], tmp_path, trials=3).trials == 3
    grid = Space.of(load(path), ["train.batch_size=1,2", *LONG])[0].grid()
    assert [next(grid)["train.seed"] for _ in range(3)] == [0, 1, 2]


# --- several networks -----------------------------------------------------------------------------------------------

TWO = """
networks:
  a: {inputs: [3], layers: [linear: 4]}
  b: {inputs: [4], layers: [linear: 1]}
train: {steps: 3, optimizer: {a: {adam: {lr: 0.01}}, b: sgd}}
"""


@pytest.fixture
def two(tmp_path):
    (tmp_path / "two.yaml").write_text(TWO)
    return tmp_path / "two.yaml"


def test_what_is_said_of_a_network_may_vary(two):
    space = Space.of(load(two), ["train.optimizer.a.adam.lr=0.1,0.2", "networks.b.layers.linear_1=1,2"])[0]
    points = [Planner(load(two), space).experiment(point) for point in space.grid()]
    assert [(p.train.optimizers["a"].lr, p.networks["b"].at("layers").plain()) for p in points] == [
        (0.1, [{"linear": 1}]),
        (0.1, [{"linear": 2}]),
        (0.2, [{"linear": 1}]),
        (0.2, [{"linear": 2}]),
    ]


def test_a_value_below_a_kind_is_only_varied_where_the_network_has_that_kind(two):
    changes = ["train.optimizer.b={sgd: {lr: 0.1}},{adam: {lr: 0.1}}", "train.optimizer.b.sgd.momentum=0.5,0.9"]
    space = Space.of(load(two), changes)[0]
    found = [Planner(load(two), space).experiment(point).train.optimizers["b"] for point in space.grid()]
    assert [(one.kind, getattr(one, "momentum", None)) for one in found] == [
        ("sgd", 0.5),
        ("sgd", 0.9),
        ("adam", None),
    ]


def test_a_value_of_a_network_that_there_is_not_is_refused(two):
    with pytest.raises(SpecError, match=r"there is no `train\.optimizer\.c` to override"):
        Space.of(load(two), ["train.optimizer.c.adam.lr=0.1,0.2"])
