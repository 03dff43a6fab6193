"""Stages in the plan of a spec: every mistake of each of them at once, before anything is loaded."""

import pytest
from typer.testing import CliRunner

from dlx.cli import app
from dlx.data.generated.synthetic import Synthetic
from dlx.errors import SpecError
from dlx.graph import trace, trace_all
from dlx.spec import load

HEAD = """\
dlx: 1
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 32}}
blocks: {body: {layers: [{linear: 8}, relu]}}
network: {layers: [{body: , name: trunk}, {linear: 4, name: head}]}
train: {batch_size: 16, epochs: 2}
track: {mlflow: false}
"""
WRONG = """\
stages:
  - name: first
    network: {layers: [{body: , name: trunk}, {liner: 4, name: head}]}
    train: {epochs: 1}
  - name: second
    freeze: [tronk]
    train: {epochs: 2, stepz: 3}
  - name: third
    network: {layers: [{body: , name: trunk}, {linear: "${4 +}", name: head}]}
  - name: fourth
    data: {synthetic: {classes: 3}}
  - name: fifth
    network: {layers: [{linear: 5, name: other}, {linear: 4, name: head}]}
  - name: sixth
"""
SENTENCES = [
    "s.yaml:4:44  network.layers.head\n  stage `fourth`: the network ends in (4,), and the data has 3 classes",
    "s.yaml:4:44  stages\n  `head/weight` has shape (4, 5) in the stage `fifth` and (4, 8) in `sixth`",
    "s.yaml:9:48  stages.first.network.layers.head\n  there is no layer or block `liner`",
    's.yaml:12:14  stages.second.freeze\n  `freeze` matches no node: "tronk"',
    "s.yaml:13:24  stages.second.train.stepz\n  `train` has no field `stepz`",
    "s.yaml:15:48  stages.third.network.layers.head\n  `4 +` is not arithmetic",
]


def written(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


def told(tmp_path, text):
    with pytest.raises(SpecError) as error:
        trace(load(written(tmp_path, text)))
    return str(error.value).replace(f"{tmp_path}/", "")


def test_every_mistake_of_every_stage_is_told_once_in_the_order_of_the_file(tmp_path):
    text = told(tmp_path, HEAD + WRONG)
    found = [text.find(sentence) for sentence in SENTENCES]
    assert found == sorted(found)
    assert found[0] == 0
    assert text.count("s.yaml:") == len(SENTENCES)


@pytest.mark.parametrize("command", ["inspect", "explain", "verify", "train", "doctor"])
def test_each_command_tells_them_before_anything_is_loaded(tmp_path, monkeypatch, command):
    monkeypatch.setattr(Synthetic, "load", lambda _: pytest.fail("the data was loaded"))
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, [command, str(written(tmp_path, HEAD + WRONG))])
    assert isinstance(ran.exception, SpecError)
    text = str(ran.exception).replace(f"{tmp_path}/", "")
    assert [sentence for sentence in SENTENCES if sentence not in text] == []
    assert text.count("s.yaml:") == len(SENTENCES)
    assert not (tmp_path / "runs").exists()


SHARED = {
    "network: {layers: [{body: , name: trunk}, {linear: 4, name: head}]}": (
        "network: {layers: [{body: , name: trunk}, {liner: 4, name: head}]}",
        "s.yaml:4:44  network.layers.head\n  there is no layer or block `liner`",
    ),
    "{linear: 8}": ("{linear: '${n}'}", "s.yaml:3:27  network.layers.trunk/linear_1\n  there is no variable `n`"),
    "epochs: 2}": ("epochz: 2}", "s.yaml:5:25  train.epochz\n  `train` has no field `epochz`"),
    "network: {layers: [{body: , name: trunk}, {linear: 4, name: head}]}\n": (
        "",
        "s.yaml:1:1\n  there is no `network`",
    ),
}


@pytest.mark.parametrize("good", SHARED)
def test_a_mistake_that_stages_share_is_told_once(tmp_path, good):
    wrong, sentence = SHARED[good]
    stages = "stages: [{name: a, train: {epochs: 1}}, {name: b, train: {epochs: 2}}, {name: c, train: {epochs: 3}}]\n"
    text = told(tmp_path, HEAD.replace(good, wrong) + stages)
    assert text.startswith(sentence)
    assert text.replace("called at s.yaml:", "").count("s.yaml:") == 1


def test_what_every_stage_replaces_is_looked_at_too(tmp_path):
    stages = "stages: [{name: a, train: {steps: 1}}, {name: b, train: {steps: 2}}]\n"
    assert "`epochs` must be a whole number" in told(tmp_path, HEAD.replace("epochs: 2", "epochs: {no: 1}") + stages)
    graphs = trace_all(load(written(tmp_path, HEAD.replace(", epochs: 2", "") + stages)))
    assert list(graphs.stages) == ["a", "b"]
    assert graphs.params == graphs.stages["b"].params == 6 * 8 + 8 + 8 * 4 + 4


TAUGHT = """\
dlx: 1
networks: {teacher: {from: few}, student: {layers: [{linear: 4}]}}
objective: distillation
train: {epochs: 1}
stages:
  - name: few
    data: {synthetic: {shape: [6], classes: 4, trian: 96}}
    network: {layers: [{linear: 4}]}
    objective: classification
  - name: all
    data: {synthetic: {shape: [6], classes: 4}}
"""


def test_a_mistake_of_the_stage_that_a_network_comes_from_is_told_once(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(TAUGHT)
    with pytest.raises(SpecError) as error:
        trace_all(load(path))
    assert [(one.mark.line, one.message, one.hint) for one in error.value.problems] == [
        (7, "`synthetic` has no field `trian`", "Did you mean `train`?")
    ]
