"""`dlx inspect`, `explain` and `diff` of a spec with stages: the network, weights and frozen layers of each."""

import json

import pytest
from typer.testing import CliRunner

import dlx
from dlx.cli import app
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import stage_plans, trace_all
from dlx.spec import load

SPEC = """\
dlx: 1
name: three
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 32}}
blocks: {body: {layers: [{linear: 8}, batch_norm, relu]}}
network: {layers: [{body: , name: trunk}, {linear: 4, name: head}]}
train: {batch_size: 16, epochs: 2}
track: {mlflow: false}
stages:
  - name: pretrain
    data: {synthetic: {classes: 3}}
    network: {layers: [{body: , name: trunk}, {linear: 3, name: coarse}]}
    train: {steps: 9, batch_size: 8}
  - {name: top, freeze: [trunk]}
  - {name: all, freeze: [{match: trunk/linear_1, until: {epoch: 1}}], train: {epochs: 2}}
expect: {params: 108}
"""
TRUNK, HEAD, COARSE = 6 * 8 + 8 + 2 * 8, 8 * 4 + 4, 8 * 3 + 3


@pytest.fixture
def path(tmp_path):
    where = tmp_path / "s.yaml"
    where.write_text(SPEC)
    return where


def printed(*argv):
    ran = CliRunner().invoke(app, [str(one) for one in argv])
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout


def test_the_document_has_each_stage_beside_the_keys_of_the_last_one(path):
    document = json.loads(printed("inspect", path, "--json", "--batch", "8"))
    stages = document.pop("stages")
    alone = json.loads(printed("inspect", path, "--json", "--stage", "all", "--batch", "8"))
    assert document == alone
    assert list(stages) == ["pretrain", "top", "all"]
    assert [stages[name]["params"] for name in stages] == [TRUNK + COARSE, TRUNK + HEAD, TRUNK + HEAD]
    assert [stages[name]["trainable"] for name in stages] == [TRUNK + COARSE, HEAD, TRUNK + HEAD]
    assert [stages[name]["frozen"] for name in stages] == [[], ["trunk"], ["trunk/linear_1 until epoch 1"]]
    assert [stages[name]["same_network"] for name in stages] == [False, False, True]
    assert [stages[name]["weights"] for name in stages] == [
        None,
        {"from": "pretrain", "tensors": 7, "values": TRUNK + 17, "initialized": ["head.weight", "head.bias"]},
        {"from": "top", "tensors": 9, "values": TRUNK + 17 + HEAD, "initialized": []},
    ]
    assert [stages[name]["train"] for name in stages] == [
        {"steps": 9, "epochs": None, "batch_size": 8},
        {"steps": None, "epochs": 2, "batch_size": 16},
        {"steps": None, "epochs": 2, "batch_size": 16},
    ]
    gradients = [stages[name]["memory"]["gradients"] for name in stages]
    assert gradients == [4 * (TRUNK + COARSE), 4 * HEAD, 4 * (TRUNK + HEAD)]


def test_the_tables_are_those_of_networks_that_are_new(path):
    text = printed("inspect", path)
    first, second, third = text.split("\nstage ")[1:]
    assert first.startswith("pretrain: 9 steps in batches of 8\n")
    assert first.rstrip().endswith("weights: as `init` draws them")
    assert "five" not in first
    assert "coarse" in first
    assert "trunk/linear_1      linear (frozen)" in second
    assert (
        "weights: 7 tensors (89 values) of the stage `pretrain`; as `init` draws them: head\nfrozen: trunk" in second
    )
    assert third == (
        "all: 2 epochs in batches of 16\nthe network of the stage `top`\n108 parameters\n"
        "weights: 9 tensors (125 values) of the stage `top`\nfrozen: trunk/linear_1 until epoch 1\n"
    )
    moved = printed("inspect", path, "stages.top.freeze=[]")
    assert "frozen: trunk\n" not in moved
    assert "(frozen)" not in moved


def test_weights_from_elsewhere_are_those_of_the_first_stage(path, tmp_path):
    run = runner.run(load(path), tmp_path / "runs").results[0].run
    plan = run.read_json("plan.json")
    assert plan["stages"] == json.loads(printed("inspect", path, "--json"))["stages"]
    source = f"+weights={{from: {run.dir}, only: [trunk]}}"
    first, second, _ = stage_plans(experiment := load(path, [source]), trace_all(experiment))
    assert first.weights is not None
    assert (first.weights.values, first.source) == (TRUNK + 17, str(run.dir))
    assert second.source == "the stage `pretrain`"
    with pytest.raises(SpecError, match=r"`weights\.only` matches no weight: `trank`"):
        printed("inspect", path, source.replace("trunk", "trank"))


def test_a_stage_is_looked_at_by_its_name(path):
    assert "coarse" in printed("inspect", path, "--stage", "pretrain")
    assert "coarse" not in printed("inspect", path)[printed("inspect", path).index("stage top") :]
    assert "8 * 3 = 24" in printed("explain", path, "--stage", "pretrain", "--layer", "coarse")
    assert dlx.inspect(path, stage="pretrain").params == TRUNK + COARSE
    with pytest.warns(dlx.DlxWarning, match=r"stages\.top\.freeze"):
        assert dlx.inspect(path).params == TRUNK + HEAD
    for command in ("inspect", "explain"):
        with pytest.raises(SpecError, match=r"there is no layer .*`coarse`") as told:
            printed(command, path, "--layer", "coarse")
        assert told.value.problems[0].hint == "The stage `pretrain` has one: `--stage pretrain`."
        with pytest.raises(SpecError, match="there is no stage `tip`") as told:
            printed(command, path, "--stage", "tip")
        assert told.value.problems[0].hint == "Did you mean `top`?"
    with pytest.raises(SpecError, match="there is no stage `top`: the spec has no `stages`"):
        printed("inspect", path, "~stages", "--stage", "top")


def test_other_shapes_are_those_of_one_stage(path):
    document = json.loads(printed("inspect", path, "--stage", "top", "--input", "12", "--json"))
    assert document["layers"][0]["params"] == 12 * 8 + 8
    assert document["trainable"] == HEAD
    assert "stages" not in document


def test_a_difference_in_any_stage_is_told(path):
    changes = [
        "stages.pretrain.train.steps=5",
        "train.optimizer.adam.lr=0.5",
        "stages.pretrain.network.layers.coarse=3",
    ]
    found = json.loads(printed("diff", path, path, "--json", *changes[:2]))
    assert [one["key"] for one in found["settings"]] == ["train.optimizer.adam.lr", "stages.pretrain.train.steps"]
    assert "The two are the same" in printed("diff", path, path)
    network = json.loads(
        printed(
            "diff",
            path,
            path,
            "--json",
            "stages.pretrain.network.layers.coarse={linear: {out_features: 3, bias: false}}",
        )
    )
    (setting,) = network["settings"]
    assert setting["key"] == "stages.pretrain.network"
    assert (setting["a"]["params"], setting["b"]["params"]) == (TRUNK + COARSE, TRUNK + COARSE - 3)
    without = json.loads(printed("diff", path, path, "--json", "~stages.top"))
    assert without["settings"][0] == {"key": "stages", "a": ["pretrain", "top", "all"], "b": ["pretrain", "all"]}
    (only,) = json.loads(printed("diff", path, path, "--json", "--stage", "pretrain", changes[0]))["settings"]
    assert only == {"key": "train.steps", "a": 9, "b": 5}


def test_doctor_examines_the_stage_that_is_named(path):
    from dlx.analysis.doctor import diagnosis

    with pytest.raises(SpecError, match="examines one training, and the spec has `stages`") as told:
        diagnosis.examine(load(path))
    assert told.value.problems[0].hint == "Name the one that is in doubt: `--stage pretrain`."
    probe = diagnosis.probe_of(diagnosis.examined(load(path), "pretrain"))
    assert (probe.graph.params, probe.train.steps) == (TRUNK + COARSE, 9)
    with pytest.raises(SpecError, match="there is no layer or block `liner`"):
        diagnosis.examined(load(path, ["stages.top.network={layers: [liner]}"]), "pretrain")


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("train.steps=20", ("pretrain", "all")),
        ("train.batch_size=4", ("pretrain",)),
        ("train.optimizer={sgd: 0.1}", ()),
        ("freeze=[trunk]", ("top", "all")),
        ("data.synthetic.train=64", ()),
        ("data.synthetic.classes=5", ("pretrain",)),
        ("stages.top.train.steps=4", ()),
    ],
)
def test_an_override_that_some_stages_do_not_follow_names_them(path, override, stages):
    found = load(path, [override, "~expect", *(["+freeze=[]"] if override.startswith("freeze") else [])][::-1])
    told = [one for one in found.overrides_without_effect() if str(one.mark) == f"override `{override}`"]
    named = [name for one in told for name in ("pretrain", "top", "all") if f"`{name}`" in one.message]
    assert tuple(named) == stages
    for one in told:
        key = override.partition("=")[0]
        assert one.hint == f"What a stage has itself is set there: `stages.{stages[0]}.{key}=...`."


def test_inspect_and_train_tell_of_an_override_that_a_stage_does_not_follow(path, tmp_path):
    graphs = trace_all(load(path, ["train.steps=20", "~expect"]))
    (told,) = [one for one in graphs.warnings if "changes nothing" in one.message]
    assert told.message == "this changes nothing of the stages `pretrain` and `all`, which have their own"
    results = runner.run(load(path, ["train.steps=2", "~expect"]), tmp_path / "runs")
    assert told.message in [one.message for one in results.graphs.warnings]
