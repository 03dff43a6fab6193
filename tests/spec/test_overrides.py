"""Hydra's override grammar: what each form sets, and what is said where it can set nothing."""

from contextlib import suppress
from textwrap import dedent

import pytest
from complaints import lines, report
from helpers import SHIPPED
from hypothesis import given
from hypothesis import strategies as st

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load
from dlx.spec.overrides import apply
from dlx.spec.syntax.read import parse_yaml

SPEC = dedent(
    """\
    dlx: 1
    vars: {width: 4, depths: [1, 2, 3]}
    blocks: {cell: {args: {width: null, twice: false}, layers: [{linear: "${width}"}]}}
    data: {digits: {valid: 0.1}}
    network:
      layers:
        - conv: {out_channels: 4, kernel_size: 3}
          name: stem
        - relu
        - flatten
        - cell: 5
        - linear: 10
    objective: classification
    train: {epochs: 3, optimizer: {adam: {lr: 0.1}}}
    freeze: [stem]
    """
)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


def changed(spec, *overrides):
    return apply(parse_yaml(SPEC, str(spec)), overrides, spec)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=7", "train epochs", 7),
        ("train.batch_size=64", "train batch_size", 64),
        ("train.optimizer.adam.lr=1e-3", "train optimizer adam lr", 1e-3),
        ("train.shuffle=false", "train shuffle", False),
        ("train.seed=1_000", "train seed", 1000),
        ("data.digits.valid=null", "data digits valid", None),
        ("data.digits.test=.5", "data digits test", 0.5),
        ("train.device=cuda:0", "train device", "cuda:0"),
        ("name=two words", "name", "two words"),
        ("name='a, b'", "name", "a, b"),
        ('name="it\'s"', "name", "it's"),
        ("name='1'", "name", "1"),
        ("name=", "name", ""),
        ("source=https://arxiv.org/abs/1512.03385", "source", "https://arxiv.org/abs/1512.03385"),
        ("vars.depths=[3,4,[5]]", "vars depths", [3, 4, [5]]),
        ("vars.depths=[]", "vars depths", []),
        ("vars.width={a: 1, b: [x, '2']}", "vars width", {"a": 1, "b": ["x", "2"]}),
        ("vars={}", "vars", {}),
        ("vars.depths.1=9", "vars depths", [1, 9, 3]),
        ("vars.width='${4 * 2}'", "vars width", "${4 * 2}"),
        ("vars.width=int(3.7)", "vars width", 3),
        ("+vars.new=1", "vars new", 1),
        ("++vars.new=1", "vars new", 1),
        ("++vars.width=1", "vars width", 1),
        ("+track.mlflow=false", "track mlflow", False),
        ("train.optimizer=sgd", "train optimizer", "sgd"),
        ("train.optimizer={sgd: {lr: 0.3}}", "train optimizer", {"sgd": {"lr": 0.3}}),
        ("objective.classification.loss=squared_error", "objective classification loss", "squared_error"),
        ("freeze.0=relu_1", "freeze", ["relu_1"]),
    ],
)
def test_values_are_set_with_their_types(spec, override, path, value):
    got = changed(spec, override).at(*path.split()).plain()
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("override", "index", "value"),
    [
        ("network.layers.stem.kernel_size=5", 0, {"conv": {"out_channels": 4, "kernel_size": 5}, "name": "stem"}),
        (
            "network.layers.stem.conv.stride=2",
            0,
            {"conv": {"out_channels": 4, "kernel_size": 3, "stride": 2}, "name": "stem"},
        ),
        (
            "network.layers.0.kernel_size=[3,5]",
            0,
            {"conv": {"out_channels": 4, "kernel_size": [3, 5]}, "name": "stem"},
        ),
        ("network.layers.stem.name=foot", 0, {"conv": {"out_channels": 4, "kernel_size": 3}, "name": "foot"}),
        ("network.layers.relu_1=tanh", 1, "tanh"),
        ("network.layers.1={leaky_relu: {negative_slope: 0.2}}", 1, {"leaky_relu": {"negative_slope": 0.2}}),
        ("network.layers.3.twice=true", 3, {"cell": {"width": 5, "twice": True}}),
        ("network.layers.4.out_features=12", 4, {"linear": {"out_features": 12}}),
        ("network.layers.4.when=false", 4, {"linear": {"out_features": 10}, "when": False}),
    ],
)
def test_a_layer_is_overridden_by_its_name_or_number(spec, override, index, value):
    assert changed(spec, override).at("network", "layers", index).plain() == value


def test_names_count_kinds_until_something_may_bring_more_of_them(spec):
    with pytest.raises(SpecError) as error:
        changed(spec, "network.layers.linear_1.out_features=3")  # the block above it brings linear layers of its own
    assert "there is no layer `linear_1` to override" in str(error.value)


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("~train", "train"),
        ("~train.epochs", "train epochs"),
        ("~train.epochs=3", "train epochs"),
        ("~vars.width", "vars width"),
        ("~data=digits", "data"),
    ],
)
def test_a_tilde_takes_a_key_out(spec, override, path):
    assert changed(spec, override).at(*path.split()) is None


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.steps=7",),
        ("train.steps=7", "~train.epochs"),
        ("~train.epochs", "train.steps=7"),
        ("++train.steps=7",),
        ("train.steps=7", "train.epochs=null"),
        ("train.epochs=null", "train.steps=7"),
    ],
    ids=" ".join,
)
def test_steps_take_the_epochs_of_a_training_away(spec, overrides):
    train = changed(spec, *overrides).at("train").plain()
    assert (train["steps"], train.get("epochs")) == (7, None)


def test_epochs_of_none_leave_the_steps_of_a_training(spec):
    train = changed(spec, "train.steps=7", "train.epochs=null", "train.steps=8").at("train").plain()
    assert (train["steps"], train["epochs"]) == (8, None)


def test_epochs_take_the_steps_of_a_stage_away_and_those_of_a_warmup_stay(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "train: {epochs: 3, schedule: {warmup: {steps: 5}}}\nstages: [{name: one, train: {steps: 4}}, {name: two}]\n"
    )
    root = parse_yaml((tmp_path / "s.yaml").read_text(), str(tmp_path / "s.yaml"))
    found = apply(root, ["stages.one.train.epochs=9", "train.schedule.warmup.steps=6"], tmp_path / "s.yaml").plain()
    assert found["stages"][0]["train"] == {"epochs": 9}
    assert found["train"] == {"epochs": 3, "schedule": {"warmup": {"steps": 6}}}


def test_steps_and_epochs_on_one_command_line_are_refused(tmp_path):
    text = report(tmp_path, SPEC, "train.steps=7", "train.epochs=2")
    assert text.startswith(
        "override `train.epochs=2`  train.epochs\n  `train.epochs` and `train.steps` are set, and a training lasts"
    )


def test_a_tilde_takes_a_layer_out(spec):
    assert [
        e.value if isinstance(e.value, str) else next(iter(e.map))
        for e in changed(spec, "~network.layers.stem").at("network", "layers").list
    ] == ["relu", "flatten", "cell", "linear"]


def test_later_overrides_see_earlier_ones_and_the_file_stays(spec):
    root = changed(spec, "+vars.new={a: 1}", "vars.new.a=2", "train.optimizer=sgd", "train.optimizer.sgd.lr=3")
    assert root.at("vars", "new").plain() == {"a": 2}
    assert root.at("train", "optimizer").plain() == {"sgd": {"lr": 3}}
    assert spec.read_text() == SPEC


def test_an_aliased_value_is_overridden_in_one_place_alone(spec):
    root = parse_yaml("vars: {a: &l [1, 2], b: *l}\n", "f")
    assert apply(root, ["vars.b.0=9"], spec).plain() == {"vars": {"a": [1, 2], "b": [9, 2]}}


def test_a_word_that_names_a_file_of_a_config_group_brings_that_file(spec):
    for name, text in {"data/mnist1d": "mnist1d: {seed: 7}\n", "train/optimizer/quick": "sgd: {lr: 9}\n"}.items():
        path = spec.parent / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = changed(spec, "data=mnist1d", "train/optimizer=quick")
    assert root.at("data").plain() == {"mnist1d": {"seed": 7}}
    assert str(root.at("data", "mnist1d", "seed").mark) == f"{spec.parent}/data/mnist1d.yaml:1:11"
    assert root.at("train", "optimizer").plain() == {"sgd": {"lr": 9}}
    assert changed(spec, "data=synthetic").at("data").plain() == "synthetic"


REFUSED = {
    "train.epochs": ("", "changes nothing: it has no `=`\n  Behind the spec stand changes of it, `key=value`"),
    "zoo/gan": ("", "each spec takes a command of its own."),
    "train.epochs=[1": ("", "is not in Hydra's override grammar: the `[` in its value is not closed"),
    "train..epochs=3": ("", "is not in Hydra's override grammar: `.` stands where nothing like it can"),
    "--train.epochs=3": ("", "is not in Hydra's override grammar: it begins as an option does"),
    "=3": ("", "names no key\n  Write `key=value`."),
    "data@train=digits": ("data", "has a package, `@train`, which means nothing in a spec\n  Write `data=value`."),
    "train.epochs=1,2": (
        "train.epochs",
        (
            "names several values, and this command takes one\n"
            "  One value that is a list is written [1,2]; `dlx sweep` tries several."
        ),
    ),
    "train.epochs=choice(1,2)": ("train.epochs", "names several values, and this command takes one"),
    "train.epochs=range(1,5)": ("train.epochs", "names several values, and this command takes one"),
    "train.epochs=interval(1,5)": ("train.epochs", "names several values, and this command takes one"),
    "trian.epochs=3": ("trian", "a spec has no `trian`\n  Did you mean `train` or `track`?"),
    "train.batch_sze=3": ("train.batch_sze", "`train` has no field `batch_sze`\n  Did you mean `batch_size`"),
    "train.epochs=many": ("train.epochs", '`epochs` must be a whole number, not "many"'),
    "train.epochs.x=3": ("train.epochs.x", "`train.epochs` is a single value and has nothing below it"),
    "vars.widht=3": (
        "vars.widht",
        "there is no `vars.widht` to override\n  Did you mean `width`? A new key is written `+vars.widht=...`.",
    ),
    "vars.depths.3=1": ("vars.depths.3", "the list `vars.depths` has no item `3`\n  Its items are 0 to 2."),
    "vars.depths.last=1": ("vars.depths.last", "the list `vars.depths` has no item `last`\n  Its items are 0 to 2."),
    "network.layers.9=relu": (
        "network.layers.9",
        "the list `network.layers` has no item `9`\n  Its items are 0 to 4.",
    ),
    "network.layers.stm.stride=2": (
        "network.layers.stm.stride",
        "there is no layer `stm` to override\n  Did you mean `stem`?",
    ),
    "network.layers.stem.strde=2": (
        "network.layers.stem.strde",
        "`conv` has no field `strde`\n  Did you mean `stride`?",
    ),
    "network.inputs.image=[3]": ("network.inputs.image", "A new key is written `+network.inputs.image=...`."),
    "train.optimizer.sgd.lr=3": (
        "train.optimizer.sgd.lr",
        (
            "`train.optimizer` holds `adam`, and no `sgd` beside it\n"
            "  Another kind is set whole: `train.optimizer={sgd: {lr: ...}}`."
        ),
    ),
    "train.optimizer.lr=3": (
        "train.optimizer.lr",
        "`train.optimizer` holds `adam`, and no `lr` beside it\n  Did you mean `train.optimizer.adam.lr`?",
    ),
    "data=nothing": ("data", "there is no data set `nothing`\n  There are ar_process, arrays, blobs, block_graphs,"),
    "++defaults=[base]": (
        "defaults",
        (
            "`defaults` are merged before any override, and this would change nothing\n"
            "  Name the file in the `defaults` of a spec; `GROUP=NAME` takes the file of a config group."
        ),
    ),
    "~tran": ("tran", "there is no `tran` to drop\n  Did you mean `train`?"),
    "~train.steps": ("train.steps", "there is no `train.steps` to drop"),
    "~train.epochs=4": ("train.epochs", "`train.epochs` is 3, not 4"),
    "~data=mnist1d": ("data", '`data` is {digits: {valid: 0.1}}, not "mnist1d"'),
}


@pytest.mark.parametrize(("override", "expected"), REFUSED.items(), ids=REFUSED)
def test_an_override_that_sets_nothing_says_so_once(tmp_path, override, expected):
    path, sentence = expected
    text = report(tmp_path, SPEC, override)
    where = "  ".join(part for part in (f"override `{override}`", path) if part)
    assert text.startswith(f"{where}\n  ")
    assert sentence in text
    assert text.count("override `") == 1


def test_all_overrides_that_are_wrong_are_reported_at_once_with_the_mistakes_of_the_spec(tmp_path):
    text = report(tmp_path, SPEC.replace("relu", "rleu"), "vars.q=3", "train.bach=3", "train.epochs=7", "~x", "a=1")
    assert [line for line in text.splitlines() if not line.startswith("  ")] == [
        "override `a=1`  a",
        "override `train.bach=3`  train.bach",
        "override `vars.q=3`  vars.q",
        "override `~x`  x",
        "s.yaml:9:7  network.layers.rleu_1",
    ]


def test_a_mistake_after_an_override_names_the_override(tmp_path):
    assert report(tmp_path, SPEC, "network.layers.4.out_features=12") == lines(
        """
        s.yaml:12:7  network.layers.linear_1
          the network ends in (12,), and the data has 10 classes
          Let the last layer be `linear: 10`.
        """
    )
    assert report(tmp_path, SPEC, "network.layers.4={linear: 12}").startswith(
        "override `network.layers.4={linear: 12}`  network.layers.linear_1\n  the network ends in (12,)"
    )


@pytest.mark.parametrize("depth", [60, 3000])
def test_a_nest_of_brackets_is_refused_in_a_sentence(tmp_path, depth):
    text = report(
        tmp_path, SPEC, f"vars.width={'[' * depth}{']' * depth}", "network.layers.0.out_channels='${width}'"
    )
    assert "must be a whole number, not [[[" in text or "is nested too deep\n  Write it into the spec." in text


@given(st.text(max_size=30))
def test_any_text_is_set_or_refused(tmp_path_factory, text):
    spec = tmp_path_factory.getbasetemp() / "any.yaml"
    if not spec.exists():
        spec.write_text(SPEC)
    with suppress(SpecError):
        trace(load(spec, [text]))
    with suppress(SpecError):
        trace(load(spec, [f"vars.width={text}"]))


def test_a_bare_value_for_a_layer_sets_its_first_field(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network: {inputs: [4], layers: [{linear: 5}, dropout, {linear: 3, name: last}]}\n")
    changes = ["network.layers.linear_1=7", "network.layers.dropout_1=0.25", "network.layers.last=2"]
    graph = trace(load(path, changes))
    assert [tuple(node.shape) for node in graph.nodes] == [(7,), (7,), (2,)]
    assert graph.by_name["dropout_1"].layer.options() == {"p": 0.25}
    assert "last" in graph.by_name


@pytest.mark.parametrize(
    ("override", "entry"),
    [
        ("0.linear.bias=false", {"linear": {"out_features": 8, "bias": False}}),
        ("1.linear.bias=false", {"linear": {"out_features": 8, "bias": False}}),
        ("2.residual.merge=multiply", {"residual": {"layers": ["relu"], "merge": "multiply"}}),
        ("2.merge.dim=2", {"residual": {"layers": ["relu"], "merge": {"concat": {"dim": 2}}}}),
        ("3.merge.dim=2", {"parallel": {"branches": [["relu"], []], "merge": {"concat": {"dim": 2}}}}),
        ("4.cell.twice=true", {"cell": {"width": 3, "twice": True}}),
        ("5.threshold.value=1", {"threshold": {"threshold": 0.5, "value": 1}}),
    ],
)
def test_a_field_is_found_past_the_only_other_one(tmp_path, override, entry):
    """A mapping of one key looks like an entry with its kind, and is the fields of one."""
    (tmp_path / "s.yaml").write_text(
        "blocks: {cell: {args: {width: null, twice: false}, layers: [{linear: '${width}'}]}}\n"
        "network: {layers: [{linear: {out_features: 8}}, {linear: 8}, {residual: {layers: [relu], merge: concat}},"
        " {parallel: {branches: [[relu], []], merge: {concat: {dim: 1}}}}, {cell: {width: 3}},"
        " {threshold: {threshold: 0.5}}]}\n"
    )
    root = apply(parse_yaml((tmp_path / "s.yaml").read_text(), "s.yaml"), [f"network.layers.{override}"], tmp_path)

    assert root.at("network", "layers", int(override[0])).plain() == entry


@pytest.mark.parametrize(
    "key", ["stem.layers.conv_1.out_channels", "stem.conv_1.out_channels", "stem.layers.0.conv.out_channels"]
)
def test_a_layer_inside_a_named_list_is_found_through_its_name(tmp_path, key):
    path = tmp_path / "s.yaml"
    path.write_text(
        "network:\n  inputs: [3, 8, 8]\n  layers:\n"
        "    - name: stem\n      layers: [{conv: {out_channels: 2, kernel_size: 3}}, relu]\n    - tanh\n"
    )
    graph = trace(load(path, [f"network.layers.{key}=4"]))

    assert graph.by_name["stem/conv_1"].shape.channels == 4


ZOO = [path for name, path in SHIPPED.items() if name.startswith("zoo/") and "\ntrain:" in path.read_text()]


def test_each_spec_of_the_zoo_can_be_tried_for_a_few_steps():
    assert len(ZOO) > 50
    for path in ZOO:
        found = load(path, ["train.steps=20"])
        assert not found.problems, path
        assert found.stages or (found.train.steps, found.train.epochs) == (20, None)
