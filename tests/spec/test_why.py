"""Where a value comes from: file and line, default, override, and what each replaced."""

import pytest
from helpers import ROOT

from dlx.errors import SpecError
from dlx.spec import load
from dlx.spec.spec_keys import UNKNOWN
from dlx.spec.why import why

NET = "network: {inputs: [4], layers: [{linear: 3}]}\n"
FIRST = "The key comes first: dlx why SPEC KEY [KEY=VALUE ...]."
LENET = ROOT / "specs/digits/lenet.yaml"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that nothing outside is found from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, **files):
    """`data__m="..."` is the file `data/m.yaml`."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def asked(path, key, *changes):
    return why(load(path, changes), key, changes)


def refused(path, key, *changes):
    with pytest.raises(SpecError) as error:
        asked(path, key, *changes)
    (problem,) = error.value.problems
    return f"{problem.path}: {problem.message} | {problem.hint}"


def places(found):
    """Where the value and all that it replaced stand, newest first."""
    return [str(mark).rsplit("/", 1)[-1] for mark in (found.mark, *(old.mark for old in found.replaced))]


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_key_of_the_file_has_its_line_and_column():
    found = asked(LENET, "train.optimizer.adamw.lr")
    assert (found.value, places(found)) == (0.003, ["lenet.yaml:23:23"])
    assert (found.type, found.about) == ("float", "learning rate")


def test_a_value_from_defaults_is_reported_with_each_that_it_replaced(folder):
    write(
        folder,
        a="vars: {n: 1, only: 5}\n",
        b="defaults: [a]\nvars: {n: 2}\n",
        s=f"defaults: [b]\nvars: {{n: 3}}\n{NET}",
    )
    found = asked(folder / "s.yaml", "vars.n")
    assert (found.value, places(found)) == (3, ["s.yaml:2:8", "b.yaml:2:8", "a.yaml:1:8"])
    assert [old.value for old in found.replaced] == [2, 1]
    assert places(asked(folder / "s.yaml", "vars.only")) == ["a.yaml:1:14"]


def test_the_whole_history_is_retained_where_defaults_stand_side_by_side(folder):
    write(folder, a="vars: {n: 1}\n", b="defaults: [c]\nvars: {n: 2}\n", c="vars: {n: 3}\n")
    write(folder, s=f"defaults: [a, b]\n{NET}")
    assert places(asked(folder / "s.yaml", "vars.n")) == ["b.yaml:2:8", "c.yaml:1:8", "a.yaml:1:8"]


def test_a_config_group_is_a_file_like_another(folder):
    write(folder, data__noise="digits: {valid: 0.2}\n")
    write(folder, s=f"defaults: [{{data: noise}}]\n{NET}")
    assert places(asked(folder / "s.yaml", "data.digits.valid")) == ["noise.yaml:1:10"]
    write(folder, s=f"data: digits\n{NET}")
    found = asked(folder / "s.yaml", "data.digits.valid", "data=noise")
    assert (found.value, places(found)) == (0.2, ["noise.yaml:1:10", "s.yaml:1:1"])


def test_another_kind_replaces_the_section_and_says_so(folder):
    write(folder, base="train: {steps: 1, optimizer: {adam: {lr: 0.1}}}\n")
    write(folder, s=f"defaults: [base]\ntrain: {{optimizer: {{sgd: {{lr: 0.2}}}}}}\n{NET}")
    found = asked(folder / "s.yaml", "train.optimizer.sgd.lr")
    assert [(old.key, old.value) for old in found.replaced] == [("train.optimizer", {"adam": {"lr": 0.1}})]
    default = asked(folder / "s.yaml", "train.optimizer.sgd.momentum")
    assert (default.value, default.mark, default.default_of) == (0, None, "sgd")


def test_a_bare_value_and_its_field_are_one(folder):
    write(folder, base="train: {steps: 1, optimizer: {sgd: 0.1}}\n")
    write(folder, s=f"defaults: [base]\ntrain: {{optimizer: {{sgd: {{lr: 0.2}}}}}}\n{NET}")
    found = asked(folder / "s.yaml", "train.optimizer.sgd.lr")
    assert (found.value, [(old.key, old.value) for old in found.replaced]) == (0.2, [("train.optimizer.sgd.lr", 0.1)])


def test_toml_has_places_too():
    assert places(asked(ROOT / "specs/udl/mnist1d-dense.toml", "train.batch_size"))[0].startswith(
        "mnist1d-dense.toml:"
    )


def test_an_alias_is_not_blamed_for_what_replaced_its_twin(folder):
    write(folder, base="vars: {a: 1}\n", s=f"defaults: [base]\nvars: {{a: &it [2], b: *it}}\n{NET}")
    assert [old.value for old in asked(folder / "s.yaml", "vars.a").replaced] == [1]
    assert asked(folder / "s.yaml", "vars.b").replaced == ()


# --- overrides ------------------------------------------------------------------------------------------------------


def test_the_last_override_wins_and_the_others_are_reported():
    found = asked(LENET, "train.seed", "train.seed=3", "train.seed=4")
    assert found.value == 4
    assert places(found) == ["override `train.seed=4`", "override `train.seed=3`", "lenet.yaml:25:3"]


def test_an_override_of_the_same_value_is_reported_all_the_same():
    found = asked(LENET, "train.seed", "train.seed=0")
    assert (found.value, [old.value for old in found.replaced]) == (0, [0])


def test_an_override_of_a_section_replaces_what_is_in_it():
    found = asked(LENET, "train.seed", "train={epochs: 1, seed: 7}")
    assert (found.value, [(old.key, old.value) for old in found.replaced]) == (7, [("train.seed", 0)])


def test_what_is_dropped_is_reported_with_the_default_that_took_its_place():
    found = asked(LENET, "train.batch_size", "train.batch_size=64", "~train.batch_size")
    assert (found.value, found.default_of) == (32, "train")
    assert (found.dropped.key, found.dropped.value) == ("~train.batch_size", 64)


def test_an_override_of_something_else_changes_nothing():
    assert asked(LENET, "train.seed", "train.epochs=1") == asked(LENET, "train.seed")


# --- defaults and expressions ---------------------------------------------------------------------------------------


def test_a_default_is_reported_with_its_owner_type_and_meaning():
    found = asked(LENET, "train.optimizer.adamw.eps")
    assert (found.value, found.mark, found.default_of) == (1e-8, None, "adamw")
    assert (found.type, found.about) == ("float", "added to sqrt(v)")


def test_what_a_spec_need_not_write_has_a_default_too(folder):
    write(folder, s=NET + "train: {steps: 1}\n")
    path = folder / "s.yaml"
    assert asked(path, "init").kind == "default"
    assert asked(path, "name").value == "s"
    assert asked(path, "train.optimizer").kind == "adam"
    assert asked(path, "train.optimizer.adam.lr").value == 1e-3


def test_an_expression_is_reported_with_its_value_and_its_variables(folder):
    write(folder, s=f"vars: {{n: 3, m: '${{2 * n}}'}}\ntrain: {{steps: '${{m + n}}'}}\n{NET}")
    found = asked(folder / "s.yaml", "train.steps")
    assert (found.value, found.expression) == (9, "${m + n}")
    assert [(one.key, one.value) for one in found.uses] == [("vars.n", 3), ("vars.m", 6)]
    assert asked(folder / "s.yaml", "vars.m").value == 6


def test_an_expression_that_takes_a_place_in_the_graph_has_no_value_here():
    found = asked(
        ROOT / "specs/cs231n/resnet50.yaml", "blocks.bottleneck.layers.0.residual.layers.conv_2.out_channels"
    )
    assert (found.value, found.expression) == (UNKNOWN, "${widen * width}")
    assert found.as_json()["value"] is None


def test_an_argument_hides_a_variable_of_the_same_name(folder):
    write(
        folder,
        s="""
        vars: {n: 3}
        blocks: {b: {args: {n: null}, layers: [{linear: "${n}"}]}}
        network: {inputs: [4], layers: [{b: 5}]}
        """,
    )
    found = asked(folder / "s.yaml", "blocks.b.layers.linear_1.out_features")
    assert (found.value, found.uses) == (UNKNOWN, ())


# --- sections and mistakes ------------------------------------------------------------------------------------------


def test_a_section_lists_its_values_with_their_places():
    found = asked(LENET, "train.optimizer")
    assert (found.kind, places(found)) == ("adamw", ["lenet.yaml:23:3"])
    parts = {part.key.rsplit(".", 1)[-1]: (part.value, part.default_of) for part in found.parts}
    assert parts["lr"] == (0.003, "")
    assert parts["amsgrad"] == (False, "adamw")


def test_keys_may_hold_a_slash():
    assert asked(LENET, "expect.test/accuracy.about").value == 0.985


def test_every_value_of_every_section_can_be_asked_for():
    for part in asked(LENET, "train").parts + asked(LENET, "network").parts + asked(LENET, "expect").parts:
        assert asked(LENET, part.key) == part


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train.sed", "train.sed: `train` has no `sed` | Did you mean `seed` or `seeds`?"),
        ("lr", "lr: the spec has no `lr` | Did you mean `train.optimizer.adamw.lr`?"),
        (
            "train.optimizer.lr",
            "train.optimizer.lr: `train.optimizer` has no `lr` | Did you mean `train.optimizer.adamw.lr`?",
        ),
        ("trian.seed", "trian.seed: the spec has no `trian` | Did you mean `data.digits.seed` or `train.seed`?"),
        (
            "train.seed.x",
            "train.seed.x: `train.seed` is a single value and has nothing below it | Ask for `train.seed`.",
        ),
        ("vars", "vars: the spec has no `vars` | It may have one, and leaves it out."),
        ("network.layers.99", "network.layers.99: `network.layers` has no `99` | Its items are 0 to 10."),
        ("train.seed=3", f"train.seed=3: sets a value, where the name of one is wanted | {FIRST}"),
    ],
)
def test_a_key_that_is_none_is_refused_with_the_way_out(key, expected):
    assert refused(LENET, key) == expected


def test_the_document_says_file_or_override():
    document = asked(LENET, "train.seed", "train.seed=3").as_json()
    assert document["from"] == {"override": "train.seed=3"}
    (old,) = document["replaced"]
    assert old == {"key": "train.seed", "value": 0, "from": {"file": str(LENET), "line": 25, "column": 3}}
