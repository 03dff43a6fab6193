"""Names and numbers in overrides are those of the spec as it is written, whatever the overrides before did."""

from pathlib import Path

import pytest
from complaints import report

from dlx.errors import SpecError
from dlx.graph import trace, trace_all
from dlx.graph.origin import why as why_of_graph
from dlx.spec import load
from dlx.sweeps.feasible import Planner
from dlx.sweeps.space import Space

SPEC = """\
dlx: 1
data: digits
network:
  layers: [flatten, {linear: 10}, relu, {linear: 10}, relu, {linear: 10}, relu, {linear: 10, name: head}]
train: {epochs: 1}
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


def kinds(spec, *changes):
    return [node.kind for node in trace(load(spec, changes)).nodes]


PLAIN = ["flatten", "linear", "relu", "linear", "relu", "linear", "relu", "linear"]


def but(**kinds):
    """The layers of the spec with others at some numbers; None where one is gone."""
    changed = dict(enumerate(PLAIN)) | {int(key[1:]): kind for key, kind in kinds.items()}
    return [kind for kind in changed.values() if kind is not None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["relu_1=identity", "relu_2=tanh"], but(_2="identity", _4="tanh")),
        (["relu_2=tanh", "relu_1=identity"], but(_2="identity", _4="tanh")),
        (["~relu_1", "relu_2=tanh"], but(_2=None, _4="tanh")),
        (["~2", "4=tanh"], but(_2=None, _4="tanh")),
        (["~2", "4=tanh", "relu_3=gelu", "~1"], but(_1=None, _2=None, _4="tanh", _6="gelu")),
        (["~6", "~relu_1", "~4"], but(_2=None, _4=None, _6=None)),
        (["relu_1=linear", "relu_1.out_features=10", "linear_2=10"], but(_2="linear")),
        (["relu_1={residual: {layers: [relu]}}", "relu_2=tanh"], [*PLAIN[:3], "add", *but(_4="tanh")[3:]]),
        (["head.name=foot", "head=10"], PLAIN),
        (["linear_1.when=false", "linear_2.bias=false", "relu_2=tanh"], but(_1=None, _4="tanh")),
    ],
)
def test_an_override_means_the_layer_that_the_spec_calls_so(spec, changes, expected):
    texts = [f"~network.layers.{c[1:]}" if c[0] == "~" else f"network.layers.{c}" for c in changes]
    assert kinds(spec, *texts) == expected


def test_the_fields_of_a_layer_that_replaced_another_are_found_by_the_others_name(spec):
    changes = ["network.layers.relu_1=linear", "network.layers.relu_1.out_features=7", "network.layers.linear_2=3"]
    assert [tuple(node.shape) for node in trace(load(spec, changes)).nodes][1:4] == [(10,), (7,), (3,)]


def test_items_of_any_list_keep_their_numbers(tmp_path):
    (tmp_path / "s.yaml").write_text("vars: {a: [10, 20, 30]}\nnetwork: {inputs: [4], layers: ['linear: ${a[1]}']}\n")
    assert load(tmp_path / "s.yaml", ["~vars.a.0", "vars.a.2=7"]).root.at("vars", "a").plain() == [20, 7]


def test_a_list_that_an_override_brings_has_names_of_its_own(spec):
    changes = ["network.layers=[flatten,{linear: 5},{linear: 10}]", "network.layers.linear_1=7", "~network.layers.0"]
    assert load(spec, changes).root.at("network", "layers").plain() == [{"linear": 7}, {"linear": 10}]


def test_names_are_those_after_defaults_were_brought_in(tmp_path):
    (tmp_path / "base.yaml").write_text(SPEC.replace("{linear: 10}, relu, ", "", 1))
    (tmp_path / "s.yaml").write_text("defaults: [base]\nvars: {a: 1}\n")
    changes = ["network.layers.relu_1=identity", "network.layers.relu_2=tanh"]
    assert kinds(tmp_path / "s.yaml", *changes) == ["flatten", "linear", "identity", "linear", "tanh", "linear"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            ["~network.layers.relu_1", "network.layers.relu_1=tanh"],
            "`network.layers.relu_1` was taken out by an override before this one",
        ),
        (
            ["~network.layers.2", "~network.layers.2"],
            "`network.layers.2` was taken out by an override before this one",
        ),
        (
            ["network.layers.relu_1=tanh", "network.layers.tanh_1=gelu"],
            "Overrides call a layer as the spec does, before any of them: `relu_1`.",
        ),
        (
            ["network.layers.head.name=foot", "network.layers.foot.bias=false"],
            "Overrides call a layer as the spec does, before any of them: `head`.",
        ),
        (["~network.layers.0", "network.layers.8=relu"], "has no item `8`\n  Its items are 0 to 7."),
    ],
)
def test_what_is_no_longer_there_is_refused_with_what_it_is_called(tmp_path, changes, sentence):
    assert sentence in report(tmp_path, SPEC, *changes)


def kinds_of(space, base, **point):
    planner = Planner(base, space)
    point = {f"network.layers.{name}": kind for name, kind in point.items()}
    assert space.holds(point)
    return [node.kind for node in trace(planner.experiment(point)).nodes]


def test_what_varies_is_the_same_layer_in_every_trial(spec):
    base = load(spec)
    space, _ = Space.of(base, ["network.layers.relu_1=relu,tanh", "network.layers.relu_2=relu,gelu"])
    trials = [tuple(kinds_of(space, base, relu_1=a, relu_2=b)) for a in ("relu", "tanh") for b in ("relu", "gelu")]
    assert trials == [tuple(but(_2=a, _4=b)) for a in ("relu", "tanh") for b in ("relu", "gelu")]
    for point in space.grid():
        assert kinds(spec, *space.overrides(point)) == [
            n.kind for n in trace(Planner(base, space).experiment(point)).nodes
        ]


def test_what_varies_is_called_as_before_the_single_values_beside_it(spec):
    plain = ["~network.layers.relu_1", "network.layers.1=10"]
    space, rest = Space.of(load(spec), [*plain, "network.layers.relu_2=relu,gelu", "network.layers.6=tanh,relu"])
    base = load(spec).changed(rest)
    assert kinds_of(space, base, relu_2="gelu", **{"6": "tanh"}) == but(_2=None, _4="gelu", _6="tanh")


@pytest.mark.parametrize(
    "keys",
    [
        ["network.layers.2", "network.layers.relu_1"],
        ["network.layers.linear_1.out_features", "network.layers.1.linear.out_features"],
    ],
)
def test_two_keys_of_one_place_do_not_vary_both(spec, keys):
    values = "relu,tanh" if "relu" in keys[1] else "10,20"
    with pytest.raises(SpecError) as error:
        Space.of(load(spec), [f"{key}={values}" for key in keys])
    assert f"`{keys[1]}` and `{keys[0]}` are one place, and vary both" in str(error.value)


def test_a_single_value_ends_what_the_spec_lets_vary_by_whatever_name(spec):
    spec.write_text(f"{SPEC}sweep: {{space: {{network.layers.relu_1: [relu, tanh], train.batch_size: [1, 2]}}}}\n")
    space, _ = Space.of(load(spec), ["network.layers.2=identity"])
    assert list(space.by_key) == ["train.batch_size"]


def why(spec, key, *changes):
    experiment = load(spec, changes)
    return why_of_graph(experiment, trace_all(experiment), key, changes)


def test_dlx_why_takes_the_same_names(spec):
    changes = ["network.layers.relu_1=identity", "network.layers.relu_2=tanh"]
    found = why(spec, "network.layers.relu_2", *changes)
    assert (found.key, found.value, found.mark.file) == ("network.layers.relu_2", "tanh", f"override `{changes[1]}`")
    assert [one.value for one in found.replaced] == ["relu"]


def test_dlx_why_shows_what_a_tilde_took_from_the_layer_that_is_asked_for(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "network: {inputs: [3, 9, 9], layers: [{conv: {out_channels: 2, kernel_size: 3, padding: 1}},"
        " {conv: {out_channels: 2, kernel_size: 3}}]}\n"
    )
    gone = why(tmp_path / "s.yaml", "network.layers.conv_2.padding", "~network.layers.0")
    assert (gone.value, gone.dropped) == (0, None)
    origin = why(tmp_path / "s.yaml", "network.layers.conv_1.padding", "~network.layers.conv_1.padding")
    assert (origin.value, origin.dropped.value) == (0, 1)


def test_the_file_is_left_as_it_is(spec):
    load(spec, ["~network.layers.relu_1"])
    assert Path(spec).read_text() == SPEC
