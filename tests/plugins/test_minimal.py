"""Kinds with the least that their family asks for: no docstring, no example, no plan. Every command takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugin_files import dlx

from dlx import plugins
from dlx.registry import FAMILIES

KINDS = """from typing import ClassVar

import dlx
from dlx.lazy import F, nn, np, torch


class L1(dlx.Layer):
    kind: ClassVar[str] = "bare_layer"

    def module(self, *xs):
        return nn.Conv2d(xs[0][0], 4, 3)


class L2(dlx.Layer):
    kind: ClassVar[str] = "planned_layer"

    def plan(self, x):
        return dlx.Plan(tuple(x))

    def module(self, x):
        return nn.Tanh()


class Cost(dlx.Loss):
    kind: ClassVar[str] = "bare_loss"
    wants: ClassVar[str] = "classes"

    def outputs(self, target):
        return target

    def function(self):
        return F.cross_entropy


class M(dlx.Metric):
    kind: ClassVar[str] = "bare_metric"

    def meter(self, output, ignore):
        return Meter()


class Meter:
    total = 0.0

    def update(self, output, target):
        self.total = self.total + output.mean()

    def compute(self):
        return self.total


class D(dlx.Dataset):
    kind: ClassVar[str] = "bare_data"

    def facts(self):
        return dlx.Facts((1, 8, 8), classes=3)

    def load(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(60, 1, 8, 8)).astype(np.float32)
        y = rng.integers(3, size=60)
        parts = [dlx.Split(x[a:b], y[a:b]) for a, b in ((0, 40), (40, 50), (50, 60))]
        return dlx.Sets(*parts, digest="d", source="s")


class O(dlx.Optimizer):
    kind: ClassVar[str] = "bare_optimizer"

    def made_of(self):
        return torch.optim.SGD, {}


class S(dlx.Schedule):
    kind: ClassVar[str] = "bare_schedule"

    def at(self, step, span):
        return 1.0


class I(dlx.Initializer):
    kind: ClassVar[str] = "bare_init"

    def fill(self, weight):
        weight.data.fill_(0.01)


class A(dlx.Average):
    kind: ClassVar[str] = "bare_average"

    def share(self, step, count, span):
        return 1.0


class Au(dlx.Augmentation):
    kind: ClassVar[str] = "bare_augmentation"

    def apply(self, x):
        return x


class V(dlx.View):
    kind: ClassVar[str] = "bare_view"

    def of(self, x, size):
        yield x


class P(dlx.Preprocess):
    kind: ClassVar[str] = "bare_step"

    def apply(self, x, found):
        return x


class Sa(dlx.Sampler):
    kind: ClassVar[str] = "bare_sampler"

    def ask(self, space, history, count, seed, metrics, rising, taken=()):
        known = [*(trial.point for trial in history), *taken]
        return [point for point in space.grid() if point not in known][:count]


class Sc(dlx.Scheduler):
    kind: ClassVar[str] = "bare_scheduler"

    def rungs(self, total_steps, steps_per_epoch, generation=0):
        return [1, total_steps]


class B(dlx.Baseline):
    kind: ClassVar[str] = "bare_baseline"

    def estimator(self, learns, seed):
        from sklearn.dummy import DummyClassifier

        return DummyClassifier()


class An(dlx.Analysis):
    kind: ClassVar[str] = "bare_analysis"

    def run(self, subject):
        from dlx.analysis.result import Result

        return Result({"layers": len(subject.graph.nodes)})


class Ob(dlx.Objective):
    kind: ClassVar[str] = "bare_objective"

    def phases(self):
        return (dlx.Phase("learn", ("network",), ("input", "target")),)

    def needs(self, fields, networks):
        (name,) = networks["network"].inputs
        return (dlx.Call("network", {name: "input"}),)

    def terms(self, phase, call, batch, rng):
        return {"loss": F.cross_entropy(call("network", batch["input"]), batch["target"])}
"""
HEAD = "dlx: 1\nplugins: [kinds.py]\ntrack: {mlflow: false}\n"
SPECS = {
    "all": """data: bare_data
network: {layers: [bare_layer, planned_layer, {conv: {out_channels: 2, kernel_size: 3}}, flatten, {linear: 3}]}
objective: {classification: {loss: bare_loss, metrics: [bare_metric]}}
init: bare_init
train:
  epochs: 1
  batch_size: 10
  optimizer: bare_optimizer
  schedule: bare_schedule
  average: bare_average
  augment: [bare_augmentation]
  test_time: bare_view
baselines: [bare_baseline]
analyses: {bare: bare_analysis}
expect: {analysis/bare/layers: {at_least: 1}}
""",
    "phased": """data: bare_data
network: {layers: [bare_layer, flatten, {linear: 3}]}
objective: bare_objective
train: {epochs: 1, batch_size: 10}
""",
    "searched": """data: {digits: {train: 100, valid: 0.2, preprocess: [bare_step]}}
network: {layers: [bare_layer, flatten, {linear: 10}]}
train: {epochs: 1, batch_size: 20, evaluate_every: 1}
sweep: {space: {train.optimizer.adam.lr: "1e-3,1e-2"}, sampler: bare_sampler, scheduler: bare_scheduler, trials: 2}
""",
}


@pytest.fixture(autouse=True)
def _written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("kinds.py").write_text(KINDS)
    for name, text in SPECS.items():
        Path(f"{name}.yaml").write_text(HEAD + text)
    yield
    plugins.use(())


def done(*words: object) -> str:
    """What a command writes to stdout."""
    status, out, err = dlx(*words)
    assert status == 0, (words, out + err)
    return out


@pytest.mark.parametrize("spec", SPECS)
def test_every_command_takes_kinds_with_the_least(spec):
    name = f"{spec}.yaml"
    for words in (("inspect", name, "--batch", "8"), ("explain", name), ("verify", name), ("diff", name, name)):
        done(*words)
    for tool in ("torchvision", "keras", "timm", "darknet", "torchinfo"):
        done("inspect", name, "--as", tool)
    for layer in ("bare_layer_1", "planned_layer_1") if spec == "all" else ("bare_layer_1",):
        done("explain", name, "--layer", layer)
        done("inspect", name, "--layer", layer)
        done("why", name, f"network.layers.{layer}")
    for key in ("train", "data", "network", "plugins"):
        done("why", name, key)
    done("train", name)
    done("evaluate", "last")


def test_the_doctor_takes_them():
    assert dlx("doctor", "all.yaml")[0] in {0, 1}


def test_a_sweep_takes_them():
    assert json.loads(done("sweep", "searched.yaml", "--json"))["trials"]


def test_an_analysis_gives_numbers_and_no_more():
    found = json.loads(done("analyze", "bare", "all.yaml", "--json"))
    assert (found["kind"], found["panels"], found["table"]["rows"]) == ("bare_analysis", [], [])
    assert "1 holds" in done("verify", "all.yaml")
    status, _, err = dlx("analyze", "bare", "all.yaml", "--out", "a.svg")
    assert (status, "`bare_analysis` has no figure" in err) == (2, True)
    Path("kinds.py").write_text(KINDS.replace('return Result({"layers": len(subject.graph.nodes)})', "return 5"))
    status, _, err = dlx("analyze", "bare", "all.yaml")
    assert (status, "`run` of the analysis `bare_analysis` returns an int, and no Result" in err) == (2, True)


def test_lists_and_schemas_have_them():
    document = json.loads(done("inspect", "all.yaml", "--json"))
    kinds = {kind for kinds in document["plugins"][0]["kinds"].values() for kind in kinds}
    assert len(kinds) == len(FAMILIES) + 1
    listed, definitions = done("layers", "all.yaml"), json.loads(done("schema", "all.yaml"))["definitions"]
    assert "layers: kinds.py" in listed
    for kind in kinds:
        assert kind in listed
        assert any(name.endswith(f".{kind}") for name in definitions)
        assert done("layers", kind, "--plugin", "kinds.py").startswith(f"{kind}\n")
        assert f"### {kind}" in done("layers", kind, "all.yaml", "--markdown")
    assert "bare_layer" not in done("layers")
    assert "bare_layer" not in done("schema")


def test_a_layer_without_a_plan_is_measured_and_sees_everything():
    """3x3 on one channel to four: 4 * 9 + 4 weights, 4 * 9 MACs at each of 6 * 6 positions."""
    node = json.loads(done("inspect", "all.yaml", "--layer", "bare_layer_1", "--json"))
    assert (node["shape"], node["params"], node["macs"]) == ([4, 6, 6], 40, 4 * 9 * 36)
    assert node["receptive_field"] == "global"


@pytest.mark.parametrize(
    ("plan", "inputs", "field"),
    [
        ("dlx.Plan(x)", "[2, 8, 8]", 3),
        ("dlx.Plan((x[0], 4, 4))", "[2, 8, 8]", "global"),
        ("dlx.Plan(x, {'weight': (2, 2, 3, 3)})", "[2, 8, 8]", "global"),
        ("dlx.Plan((5, *x[1:]), {'weight': (5, 2)})", "[2, 8, 8]", 3),
        ("dlx.Plan((5,), {'weight': (5, 8)})", "[8]", "global"),
        ("dlx.Plan(x, window=dlx.Window.over(2, 3, padding=1))", "[2, 8, 8]", 5),
    ],
)
def test_a_plan_without_a_window_is_pointwise_only_where_its_shapes_allow_it(plan, inputs, field):
    """Behind a 3x3 convolution: 3 where each position sees itself alone, 3 + 2 under another window of 3."""
    text = KINDS.replace("dlx.Plan(tuple(x))", plan)
    Path("kinds.py").write_text(text)
    first = "{conv: {out_channels: 2, kernel_size: 3, padding: 1}}, " if "," in inputs else ""
    network = f"network: {{inputs: {inputs}, layers: [{first}planned_layer]}}\n"
    Path("s.yaml").write_text(HEAD + network)
    node = json.loads(done("inspect", "s.yaml", "--layer", "planned_layer_1", "--json"))
    found = node["receptive_field"]
    assert (found if found == "global" else found["size"][0]) == field
