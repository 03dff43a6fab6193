"""A block that runs again on equal shapes is planned once, and gives what it gives when it is expanded anew."""

from pathlib import Path

import pytest

from dlx.errors import DlxError
from dlx.graph import trace_all
from dlx.graph.expansion.expand import Expander
from dlx.graph.expansion.repeats import Repeats
from dlx.spec import load

UNIT = """
    unit:
      args: {width: null, act: relu}
      layers:
        - residual:
            layers: [{linear: "${width}"}, batch_norm, "${act}", {linear: 4, name: last}]
"""
SPECS = {
    "plain": "[{linear: 4}, {unit: 8}, {unit: 8}, {unit: 9}, {unit: {width: 8, act: tanh}}, {unit: 8}, {linear: 2}]",
    "in a loop": "[{linear: 4}, {repeat: {times: 5, layers: [{unit: '${8 + i % 2}'}]}}]",
    "named, and taken from": "[{linear: 4}, {unit: 8, name: a}, {unit: 8, name: b}, {add: , from: [a/last, b/last]}]",
    "weights shared": "[{linear: 4}, {unit: 8, name: a}, {unit: 8, name: b}, {share: b}, {share: a}]",
    "one inside another": "[{linear: 4}, {pair: 8}, {pair: 8}, {unit: 8}, {pair: 8}, {share: pair_2/unit_1}]",
    "the shape of a node around it": "[{linear: 4, name: stem}, {wide: 1}, {linear: 4}, {wide: 1}]",
    "another node of that name": "[{linear: 4, name: stem}, {wide: 1}, {layers: [{linear: 6, name: stem},"
    " {linear: 4}, {wide: 1}, {wide: 1}], name: inner}]",
    "a node around it": "[{linear: 4, name: stem}, {back: 1}, {linear: 4}, {back: 1}]",
    "first behind the input": "[{unit: 8}, {unit: 8}]",
    "values and results": "[{linear: 4}, {given: 1}, {given: 1}, {reshape: [2, 2]}, {state: 1}, {state: 1}]",
    "two inputs": "[{linear: 4, name: a}, {linear: 4, name: b}, {two: , from: {p: a, q: b}}, {linear: 4, name: c},"
    " {two: , from: {p: c, q: c}}, {two: , from: {p: b, q: c}}]",
}
OTHERS = """
    pair: {args: {width: 4}, layers: [{unit: "${width}"}, {unit: "${width}"}]}
    wide: {args: {n: 1}, layers: [{linear: "${stem.channels * 2}"}, {linear: 4}]}
    back: {args: {n: 1}, layers: [{linear: 4}, {add: , from: [prev, stem]}]}
    given: {args: {n: 1}, layers: [{linear: 4, values: {bias: 0}}]}
    state: {args: {n: 1}, layers: [{gru: 3, name: memory}, {reshape: [1, 3], from: memory.state}]}
    two: {inputs: [p, q], layers: [{add: , from: [p, q]}, {linear: "${p.channels}"}, {add: , from: [prev, q]}]}
"""


def plans(folder: Path, layers: str) -> tuple[str, ...]:
    """All that is known of a network: each node, the names, the warnings."""
    text = f"name: s\nblocks: {{{','.join([])}}}\n"
    others = "".join(f"{line}\n" for line in OTHERS.splitlines() if f"{{{line.partition(':')[0].strip()}:" in layers)
    text = f"name: s\nblocks:{UNIT}{others}network:\n  inputs: [4]\n  layers: {layers}\n"
    (folder / "s.yaml").write_text(text)
    graphs = trace_all(load(folder / "s.yaml"))
    nodes = [
        (node, node.receptive_fields, node.owner, node.inputs) for graph in graphs.values() for node in graph.nodes
    ]
    return repr(nodes), repr(graphs.warnings), repr(graphs.as_json())


@pytest.mark.parametrize("name", SPECS)
def test_the_plan_is_that_of_an_expansion_of_each_use(tmp_path, monkeypatch, name):
    reused = plans(tmp_path, SPECS[name])
    monkeypatch.setattr(Repeats, "again", lambda *_: None)
    assert plans(tmp_path, SPECS[name]) == reused


@pytest.mark.parametrize(
    ("name", "expanded"),
    {
        "plain": 3,
        "in a loop": 2,
        "one inside another": 4,
        "the shape of a node around it": 2,
        "a node around it": 2,
        "first behind the input": 2,
        "values and results": 4,
        "two inputs": 2,
    }.items(),
)
def test_layers_are_expanded_once_for_each_arguments_and_shapes(tmp_path, monkeypatch, name, expanded):
    counts = []
    learned = Repeats.learn
    monkeypatch.setattr(Repeats, "learn", lambda self, *all_of_it: (counts.append(1), learned(self, *all_of_it)))
    plans(tmp_path, SPECS[name])
    assert len(counts) == expanded


def test_a_mistake_in_a_block_is_no_plan_to_use_again(tmp_path, monkeypatch):
    layers = "[{linear: 4}, {unit: {width: 8, act: no_such}}, {unit: {width: 8, act: no_such}}]"
    with pytest.raises(DlxError) as reused:
        plans(tmp_path, layers)
    monkeypatch.setattr(Repeats, "again", lambda *_: None)
    with pytest.raises(DlxError) as anew:
        plans(tmp_path, layers)
    assert [str(one) for one in reused.value.problems] == [str(one) for one in anew.value.problems]


@pytest.mark.parametrize(("limit", "most"), [("MAX_LAYERS", 60), ("MAX_ENTRIES", 50), ("MAX_WORK", 300)])
def test_limits_end_a_walk_of_repeated_blocks_where_they_end_any(tmp_path, monkeypatch, limit, most):
    monkeypatch.setattr(f"dlx.graph.expansion.limits.{limit}", most)
    layers = "[{linear: 4}, {repeat: {times: 40, layers: [{unit: 8}]}}]"
    with pytest.raises(DlxError) as reused:
        plans(tmp_path, layers)
    monkeypatch.setattr(Repeats, "again", lambda *_: None)
    with pytest.raises(DlxError) as anew:
        plans(tmp_path, layers)
    assert "grows beyond" in str(anew.value) or "hold more than" in str(anew.value)
    assert [str(one) for one in reused.value.problems] == [str(one) for one in anew.value.problems]


def test_the_expander_of_a_deep_network_reads_few_entries(tmp_path, monkeypatch):
    entries = []
    entry = Expander._entry
    monkeypatch.setattr(Expander, "_entry", lambda self, *all_of_it: (entries.append(1), entry(self, *all_of_it))[1])
    nodes, *_ = plans(tmp_path, "[{linear: 4}, {repeat: {times: 100, layers: [{unit: 8}]}}]")
    assert nodes.count("LayerNode(name='unit_") == 500
    assert len(entries) < 120
