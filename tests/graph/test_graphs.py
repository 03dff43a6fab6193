"""Several networks: their graphs, the totals of all, and every mistake at once."""

from __future__ import annotations

import json
from math import prod

import pytest
from complaints import lines
from helpers import SHIPPED, experiment_of, graph_of

from dlx.data import Facts
from dlx.data.base import Field
from dlx.errors import SpecError
from dlx.experiment import session
from dlx.graph import trace, trace_all
from dlx.shapes import Shape
from dlx.spec import load
from dlx.spec.syntax.read import Node
from dlx.training.fit import fit
from dlx.training.prepared import prepare

GAN = """\
networks:
  generator:
    inputs: {noise: [16]}
    layers: [linear: 32, relu, linear: 64, reshape: [1, 8, 8]]
  critic:
    inputs: {image: [1, 8, 8]}
    layers: [flatten, linear: 32, leaky_relu, linear: 1]
"""
GENERATOR = 16 * 32 + 32 + 32 * 64 + 64
CRITIC = 64 * 32 + 32 + 32 + 1
TOTALS = ("params", "trainable", "buffers", "macs", "activation_bytes")


def graphs_of(text):
    return trace_all(experiment_of(text))


@pytest.fixture
def said(tmp_path):
    """All that is said of a spec, its file called `s.yaml`."""

    def problems(text):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(SpecError) as error:
            trace_all(load(tmp_path / "s.yaml"))
        return str(error.value).replace(f"{tmp_path}/", "")

    return problems


# --- the graphs -----------------------------------------------------------------------------------------------------


def test_each_network_has_a_graph_of_its_own_and_the_totals_are_over_all():
    graphs = graphs_of(GAN)
    assert list(graphs) == ["generator", "critic"]
    assert [node.name for node in graphs["critic"].nodes] == ["flatten_1", "linear_1", "leaky_relu_1", "linear_2"]
    assert [graph.params for graph in graphs.values()] == [GENERATOR, CRITIC]
    assert (graphs.params, graphs.trainable) == (GENERATOR + CRITIC, GENERATOR + CRITIC)
    assert graphs.macs == 16 * 32 + 32 * 64 + 64 * 32 + 32
    # the reshape and the flatten show what comes in
    assert graphs.activation_bytes == 4 * (32 + 32 + 64) + 4 * (32 + 32 + 1)
    assert not graphs.is_one
    assert [name for name, _ in graphs.nodes()][:2] == ["generator/linear_1", "generator/relu_1"]


def test_one_network_is_the_document_that_it_was():
    layers = "[conv: {out_channels: 4, kernel_size: 3}, batch_norm, relu, flatten, linear: 10]"
    text = f"network:\n  inputs: [3, 8, 8]\n  layers: {layers}\n"
    graphs = graphs_of(text)
    assert graphs.is_one
    assert graphs.one == graphs["network"]
    assert graphs.as_json() == graph_of(text).as_json()
    assert "networks" not in graphs.as_json()


def under_a_name(experiment, name="a"):
    """The spec with its network under a name; the patterns of `freeze` and `init` follow it."""
    root = experiment.root.copy()
    root.map["networks"] = Node({name: root.map.pop("network")}, root.mark)
    for node in root.at("freeze").walk() if root.at("freeze") is not None else ():
        node.value = f"{name}/{node.value}" if isinstance(node.value, str) else node.value
    match = root.at("init", "by_name", "match")
    if match is not None:
        match.value = {f"{name}/{pattern}": one for pattern, one in match.map.items()}
    for key in ("expect", "objective"):
        root.map.pop(key, None)
    return experiment.with_root(root)


NAMED = ("digits/lenet", "udl/mnist1d-conv", "cs231n/resnet18", "cs231n/googlenet-aux", "udl/norms", "aima/rnn")


@pytest.mark.parametrize("name", [name for name in NAMED if name in SHIPPED])
def test_the_document_of_a_network_is_the_same_under_a_name(name):
    experiment = load(SHIPPED[name])
    one, named = trace(experiment), trace_all(under_a_name(experiment))
    document = named.as_json()
    assert document["networks"]["a"] == one.as_json()
    assert {key: document[key] for key in TOTALS} == {key: getattr(one, key) for key in TOTALS}
    assert [node.layer for node in named["a"].nodes] == [node.layer for node in one.nodes]
    assert [problem.message for problem in named.warnings] == [
        problem.message for problem in one.warnings if "makes probabilities itself" not in problem.message
    ]


def test_the_document_of_several_is_json_with_totals_first():
    document = json.loads(json.dumps(graphs_of("name: gan\n" + GAN).as_json()))
    assert list(document) == ["name", *TOTALS, "networks"]
    assert document["name"] == "gan"
    inside = document["networks"].values()
    assert {key: document[key] for key in TOTALS} == {key: sum(each[key] for each in inside) for key in TOTALS}


def test_inputs_that_are_not_written_are_the_datas():
    graphs = graphs_of("data: digits\nnetworks: {a: {layers: [flatten]}, b: {inputs: [5], layers: [relu]}}\n")
    assert {name: dict(graph.inputs) for name, graph in graphs.items()} == {
        "a": {"input": (1, 8, 8)},
        "b": {"input": (5,)},
    }


def test_a_block_and_a_variable_are_for_all_networks():
    graphs = graphs_of(
        "vars: {n: 4}\nblocks: {two: {args: {width: null}, layers: [linear: '${width}', relu]}}\n"
        "networks:\n  a: {inputs: [3], layers: [two: '${n}']}\n  b: {inputs: [5], layers: [two: '${2 * n}']}\n"
    )
    assert [name for name, _ in graphs.nodes()] == [
        "a/two_1/linear_1",
        "a/two_1/relu_1",
        "b/two_1/linear_1",
        "b/two_1/relu_1",
    ]
    assert graphs.params == 3 * 4 + 4 + 5 * 8 + 8


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("generator", {"generator/linear_1", "generator/linear_2"}),
        ("critic/linear_2", {"critic/linear_2"}),
        ("'*/linear_1'", {"generator/linear_1", "critic/linear_1"}),
        ("'*linear_2'", {"generator/linear_2", "critic/linear_2"}),
    ],
)
def test_freeze_takes_names_that_begin_with_the_network(pattern, frozen):
    graphs = graphs_of(f"{GAN}freeze: [{pattern}]\n")
    assert {name for name, node in graphs.nodes() if node.frozen and node.params} == frozen
    weights = {"generator/linear_1": 544, "generator/linear_2": 2112, "critic/linear_1": 2080, "critic/linear_2": 33}
    assert graphs.trainable == graphs.params - sum(weights[name] for name in frozen)


def test_a_name_without_its_network_matches_nothing(said):
    assert said(
        f"{GAN}freeze: [linear_1]\ninit: {{by_name: {{match: {{fc_9x: zeros, linear_2: zeros}}}}}}\n"
    ) == lines(
        """
        s.yaml:8:10  freeze
          `freeze` matches no node: "linear_1"
          Did you mean `critic/linear_1` or `generator/linear_1`?
        s.yaml:9:26  init.by_name.match.fc_9x
          `init` matches no node with weights to draw: "fc_9x"
          There are critic/linear_1, critic/linear_2, generator/linear_1, generator/linear_2.
        s.yaml:9:40  init.by_name.match.linear_2
          `init` matches no node with weights to draw: "linear_2"
          Did you mean `critic/linear_2` or `generator/linear_2`?
        """
    )


def test_patterns_of_init_are_looked_for_in_the_network_that_they_are_for(said):
    init = "init: {critic: {by_name: {match: {critic/linear_1: zeros, generator/linear_1: zeros}}}}\n"
    assert said(GAN + init) == lines(
        """
        s.yaml:8:59  init.critic.by_name.match.generator/linear_1
          `init` matches no node with weights to draw: "generator/linear_1"
          Did you mean `critic/linear_1` or `critic/linear_2`?
        """
    )


def test_statistics_that_move_in_a_frozen_network_are_named_in_full():
    text = "networks: {a: {inputs: [3, 4, 4], layers: [batch_norm]}, b: {inputs: [3], layers: [relu]}}\nfreeze: [a]\n"
    (warning,) = graphs_of(text).warnings
    assert "scale and shift of `a/batch_norm_1`" in warning.message


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_every_mistake_of_every_network_is_reported_in_the_order_of_the_file(said):
    assert said(
        """\
networks:
  a:
    inputs: [3, 8, 8]
    layers:
      - linear: 10
      - {conv: 3, nmae: x}
    outputs: nowhere
  b:
    layer: [relu]
  c:
    inputs: {image: [0]}
    layers: [relu]
  d: 5
  e: {inputs: [3], layers: []}
  f: {inputs: [3], layers: [residual: {layers: [linear: 4]}]}
freeze: [a/nothing]
train: {optimizer: {g: sgd}, steps: 3}
"""
    ) == lines(
        """
        s.yaml:6:19  networks.a.layers
          `nmae` stands beside `conv`
          Fields of `conv` stand inside it: `- conv: {out_channels: 3, nmae: x}`.
        s.yaml:7:5  networks.a.outputs
          the output must be the name of a node, and "nowhere" is none
          There are input, linear_1.
        s.yaml:8:3  networks.b.inputs
          the network `b` has no inputs
          Write `inputs: {image: [3, 224, 224]}` under `b`, or name the `data`.
        s.yaml:9:5  networks.b.layer
          `networks.b` has no `layer`
          Did you mean `layers`?
        s.yaml:11:14  networks.c.inputs.image
          the shape of `image` must be whole numbers above 0, not [0]
          Channels first, without the batch: [3, 224, 224].
        s.yaml:13:3  networks.d
          `networks.d` must be a mapping with `layers`, not 5
          Write `d: {layers: [...]}`.
        s.yaml:14:20  networks.e.layers
          the network has no layer
          Write one: `- linear: 10`.
        s.yaml:15:29  networks.f.layers.add_1
          add joins (3,) from `input` (line 15) with (4,) from `linear_1` (line 15): features 3 and 4 differ
          `linear: 3` brings the second to 3 features.
        s.yaml:17:21  train.optimizer.g
          there is no network and no optimizer `g`
          There are the networks a, b, c, d, e, f.
        """
    )


def test_a_block_that_is_wrong_is_reported_once(said):
    text = (
        "blocks: {odd: {layers: [linear: 0]}}\n"
        "networks: {a: {inputs: [3], layers: [odd]}, b: {inputs: [4], layers: [odd]}}\n"
    )
    assert said(text).count("`out_features` must be") == 1


def test_a_layer_of_another_network_cannot_be_taken(said):
    layers = "[linear: 2, {relu: {}, from: a}]"
    text = f"networks:\n  a: {{inputs: [3], layers: [linear: 2]}}\n  b: {{inputs: [3], layers: {layers}}}\n"
    assert said(text) == lines(
        """
        s.yaml:3:51  networks.b.layers.relu_1
          `a` is in another network, and a layer takes values and ties to layers of its own
          `share: a/...` runs weights of it; an objective hands values from network to network.
        """
    )


COPIES = """
    networks:
      q: {inputs: [3], layers: [linear: 2, relu, linear: 1]}
      other: {copy: q}
"""


def test_a_copy_has_the_layers_of_the_other_network_and_weights_of_its_own():
    graphs = trace_all(experiment_of(COPIES))
    assert [node.name for node in graphs["other"].nodes] == [node.name for node in graphs["q"].nodes]
    assert graphs.params == 2 * graphs["q"].params == 22
    document = graphs.as_json()
    assert document["networks"]["other"]["copy"] == "q"
    assert "copy" not in document["networks"]["q"]


def test_a_copy_is_drawn_anew_and_trained_like_any_other():
    text = """
        data: {moons: {train: 60, test: 8}}
        networks:
          encoder: {layers: [{linear: 2}]}
          decoder: {copy: encoder}
        objective: autoencoder
        train: {steps: 2, optimizer: {encoder: {sgd: 0.1}, decoder: {sgd: 0.1}}}
    """
    job = session.job_of(prepare(experiment_of(text)))
    first, second = (job.learner.networks[name].linear_1.weight for name in ("encoder", "decoder"))
    assert not first.equal(second)
    before = second.detach().clone()
    list(fit(job))
    assert not second.equal(before)


def test_a_copy_of_none_and_a_copy_beside_layers_are_said(said):
    network = "  q: {inputs: [3], layers: [linear: 2]}\n"
    text = f"networks:\n{network}  a: {{copy: p}}\n  b: {{copy: a}}\n  c: {{copy: q, layers: [relu]}}\n"
    assert said(text) == lines(
        """
        s.yaml:3:7  networks.a.copy
          `copy` wants the name of a network with layers, not "p"
          There is the network q.
        s.yaml:4:7  networks.b.copy
          `copy` wants the name of a network with layers, not "a"
          There is the network q.
        s.yaml:5:16  networks.c.layers
          `networks.c` has `layers` beside `copy`, which brings layers and inputs
          Keep one of the two.
        """
    )


def test_networks_share_the_limits_of_a_spec(said):
    each = "{inputs: [3], layers: [repeat: {times: 15_000, layers: [relu]}]}"
    text = f"networks:\n  a: {each}\n  b: {each}\n  c: {each}\n"
    assert said(text) == lines(
        """
        s.yaml:3:38  networks.b.layers
          the network grows beyond 20,000 layers
          Is a `repeat` too long, or does a block use itself?
        """
    )


def test_a_warning_says_which_network():
    a = "{inputs: [3], layers: [linear: 4, {tanh: {}, from: input}]}"
    text = f"networks: {{a: {a}, b: {{inputs: [2], layers: [relu]}}}}\n"
    graphs = graphs_of(text)
    assert [(w.message, w.path) for w in graphs.warnings] == [
        ("`linear_1` leads to no output", "networks.a.layers.linear_1")
    ]
    assert graphs["a"].warnings == graphs.warnings
    assert graphs["b"].warnings == ()


def test_what_is_for_one_network_says_so(tmp_path):
    (tmp_path / "s.yaml").write_text(GAN)
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    assert str(error.value).replace(f"{tmp_path}/", "") == lines(
        """
        s.yaml:1:1  networks
          this takes a spec with one `network`, and this one has `networks`: `generator`, `critic`
          Write the network that is meant as `network` in a spec of its own.
        """
    )


# --- fields of the data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        (Facts(Shape([1, 8, 8]), 10), {"input": ((1, 8, 8), "input", None), "target": ((), "target", 10)}),
        (Facts(Shape([4]), None, Shape([2])), {"input": ((4,), "input", None), "target": ((2,), "target", None)}),
        (
            Facts(Shape([3, 4, 4]), 5, Shape([4, 4])),
            {"input": ((3, 4, 4), "input", None), "target": ((4, 4), "target", 5)},
        ),
        (Facts(Shape([4])), {"input": ((4,), "input", None)}),
        (
            Facts(Shape([4]), more={"time": Field(Shape([1]))}),
            {"input": ((4,), "input", None), "time": ((1,), "input", None)},
        ),
    ],
)
def test_the_facts_of_data_are_fields_by_name(facts, fields):
    assert {n: (tuple(f.shape), f.role, f.classes) for n, f in facts.fields.items()} == fields
    if facts.classes is not None:
        assert facts.fields["target"].shape.dtype == "int"
        assert prod(facts.fields["target"].shape) >= 1
