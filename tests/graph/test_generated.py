"""Properties of every spec, however its structures are nested."""

import json

from generated_specs import SPECS, as_toml
from helpers import experiment_of
from hypothesis import given, settings

from dlx.graph import trace, trace_all


@settings(max_examples=60, deadline=None)
@given(SPECS)
def test_a_resolved_spec_is_the_same_network(spec):
    experiment = experiment_of(json.dumps(spec))

    again = experiment_of(experiment.resolved())

    assert again.root.plain() == experiment.root.plain()
    assert trace(again).as_json() == trace(experiment).as_json()
    assert again.resolved() == experiment.resolved()


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_yaml_and_toml_are_the_same_network(spec):
    assert trace(experiment_of(as_toml(spec), ".toml")).as_json() == trace(experiment_of(json.dumps(spec))).as_json()


@settings(max_examples=60, deadline=None)
@given(SPECS)
def test_totals_are_sums_and_wires_come_from_above(spec):
    graph = trace(experiment_of(json.dumps(spec)))
    there = dict(graph.inputs)

    for node in graph.nodes:
        assert [there[name] for name in node.inputs] == list(node.arriving)
        assert node.name not in there
        there[node.name] = node.shape
    owners = [n for n in graph.nodes if not n.owner]
    assert graph.params == graph.trainable == sum(n.plan.params for n in owners)
    assert graph.buffers == sum(n.plan.buffered for n in owners)
    assert graph.macs == sum(n.plan.macs for n in graph.nodes)
    assert all(graph.by_name[n.owner].plan.weights == n.plan.weights for n in graph.nodes if n.owner)


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_a_network_is_the_same_beside_another_one(one):
    spec = {key: value for key, value in one.items() if key != "network"}
    alone = trace(experiment_of(json.dumps(one))).as_json()
    spec["networks"] = {"a": one["network"], "b": {"inputs": [3], "layers": [{"linear": 2}]}}

    graphs = trace_all(experiment_of(json.dumps(spec)))

    assert graphs.as_json()["networks"]["a"] == alone
    assert graphs.params == alone["params"] + 3 * 2 + 2
