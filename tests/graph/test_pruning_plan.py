"""What `prune` takes, how many values it leaves, and what is wrong with it: all before torch."""

import pytest
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.graph import expect, trace, trace_all
from dlx.graph.explain import explain

SPEC = """\
name: p
network:
  inputs: [6]
  layers:
    - {name: trunk, layers: [{linear: 16}, layer_norm, relu]}
    - {linear: 8, name: body}
    - {linear: 3, name: head}
prune: PRUNE
"""


def graph_of(prune, text=SPEC):
    return trace(experiment_of(text.replace("PRUNE", prune)))


def problems_of(prune, text=SPEC):
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(text.replace("PRUNE", prune)))
    return raised.value.problems


@pytest.mark.parametrize(
    ("prune", "by_node"),
    [
        # 6*16, 16*8 and 8*3 weights; rounded half to even, as torch does
        ("{fraction: 0.5}", {"trunk/linear_1": 48, "body": 64, "head": 12}),
        ("{fraction: 0.33}", {"trunk/linear_1": 32, "body": 42, "head": 8}),
        ("{fraction: 0.5, match: trunk}", {"trunk/linear_1": 48, "body": 0, "head": 0}),
        ("{fraction: 0.5, match: [trunk, head]}", {"trunk/linear_1": 48, "body": 0, "head": 12}),
        ("{fraction: 0.5, skip: [head]}", {"trunk/linear_1": 48, "body": 64, "head": 0}),
        ("{fraction: 0.5, match: '*/weight', skip: ['body/*']}", {"trunk/linear_1": 48, "body": 0, "head": 12}),
        ("{fraction: 0.25, by: filters}", {"trunk/linear_1": 24, "body": 32, "head": 8}),
        ("{fraction: 0}", {"trunk/linear_1": 0, "body": 0, "head": 0}),
        ("null", {"trunk/linear_1": 0, "body": 0, "head": 0}),
    ],
)
def test_the_counts_of_each_layer_are_known_before_training(prune, by_node):
    graph = graph_of(prune)
    assert {node.name: node.pruned for node in graph.nodes if node.kind == "linear"} == by_node
    assert graph.pruned == sum(by_node.values())
    assert graph.remaining == graph.params - graph.pruned
    document = graph.as_json()
    assert document.get("remaining", graph.params) == graph.remaining
    assert ("remaining" in document) == bool(graph.pruned)


def test_over_all_weights_the_sum_is_known_and_what_is_left_of_each_is_not():
    graph = graph_of("{fraction: 0.9, scope: global}")
    assert graph.pruned == round(0.9 * (96 + 128 + 24)) == 223
    claims = "\nexpect: {remaining: [WHOLE, {trunk/linear_1: 20}]}"
    experiment = experiment_of(
        SPEC.replace("PRUNE", "{fraction: 0.9, scope: global}") + claims.replace("WHOLE", "84")
    )
    whole, part = expect.receipts(experiment, trace(experiment))
    assert (whole.ours, whole.verdict) == (graph.params - 223, "holds")
    assert part.verdict == "FAILS"
    assert "with `scope: global` the magnitudes of all weights tell what is left of `trunk/linear_1`" in part.why


def test_what_remains_is_a_claim_and_a_figure_and_a_wrong_one_fails():
    claims = """
expect:
  remaining: [{trunk: 96, body: 72}, 183]
  figures: {share of the body: {of: "${body.remaining / body.params}", is: 0.5294117647058824}}
"""
    text = SPEC.replace("PRUNE", "{fraction: 0.5}") + claims
    assert [r.verdict for r in expect.receipts(experiment_of(text), trace(experiment_of(text)))] == ["holds"] * 4
    without = text.replace("{fraction: 0.5}", "{fraction: 0.25}")
    verdicts = [r.verdict for r in expect.receipts(experiment_of(without), trace(experiment_of(without)))]
    assert verdicts == ["FAILS"] * 4


def test_explain_shows_what_is_left_of_a_layer_and_of_the_whole():
    graph = graph_of("{fraction: 0.5}")
    lines = [line for each in explain(graph, "body").derivations for line in each.lines if line.what == "remaining"]
    assert [(line.numbers, line.value) for line in lines] == [("136 - 64", 72)]
    lines = [line for each in explain(graph).derivations for line in each.lines if line.what == "remaining"]
    assert [line.value for line in lines] == [graph.remaining]


def test_several_networks_are_pruned_by_their_names_each_by_itself():
    text = """\
networks:
  one: {inputs: {image: [4]}, layers: [{linear: 8}]}
  two: {inputs: {image: [4]}, layers: [{linear: 4}]}
prune: PRUNE
"""
    graphs = trace_all(experiment_of(text.replace("PRUNE", "{fraction: 0.5, match: one}")))
    assert (graphs["one"].pruned, graphs["two"].pruned) == (16, 0)
    assert graphs.as_json()["remaining"] == graphs.params - 16
    both = trace_all(experiment_of(text.replace("PRUNE", "{fraction: 0.5, scope: global}")))
    assert (both["one"].pruned, both["two"].pruned) == (16, 8)


@pytest.mark.parametrize(
    ("prune", "message", "hint"),
    [
        ("{fraction: 1.2}", "`fraction` must be at most 1, not 1.2", ""),
        ("{fraction: -0.1}", "`fraction` must be at least 0, not -0.1", ""),
        ("{}", "`fraction` is missing", ""),
        ("0.8", "`prune` must be a mapping, not 0.8", "Write `prune: {fraction: 0.8}`."),
        ("{fraction: 0.5, scope: all}", '`scope` must be "layer" or "global", not "all"', ""),
        ("{fraction: 0.5, match: bodi}", "`prune.match` matches no weight that can be pruned: `bodi`", "`body`?"),
        ("{fraction: 0.5, match: body/bias}", "matches no weight that can be pruned: `body/bias`", "body"),
        ("{fraction: 0.5, match: trunk/layer_norm_1}", "no weight that can be pruned: `trunk/layer_norm_1`", ""),
        ("{fraction: 0.5, skip: [haed]}", "`prune.skip` matches no weight: `haed`", "`head`?"),
        ("{fraction: 0.5, match: head, skip: [head]}", "`skip` leaves out all that `match` takes", ""),
        ("{fraction: 0.99, match: head}", "`prune` leaves no weight of `head`", "or `skip: [head]`"),
        ("{fraction: 1, scope: global}", "`prune` leaves no weight of any layer", "Take a smaller `fraction`."),
        ("{fraction: 0.5, by: filters, scope: global}", "`filters` are compared within a layer", ""),
        ("{fraction: 0.5, rewind: init}", "`rewind: init` takes the magnitudes of trained weights", "a later stage"),
        ("{fraction: 0.5, rewind: first}", '`rewind` must be "init" or "redraw", not "first"', ""),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_way_out(prune, message, hint):
    (problem,) = problems_of(prune)
    assert message in problem.message
    assert hint in problem.hint
    assert problem.mark.line == 8
    assert problem.path.startswith("prune")


def test_a_shared_layer_goes_by_its_owner():
    text = SPEC.replace("- {linear: 3, name: head}", "- {share: body, name: again}").replace(
        "linear: 8", "linear: 16"
    )
    assert graph_of("{fraction: 0.5}", text).pruned == 48 + 128
    (problem,) = problems_of("{fraction: 0.5, match: again}", text)
    assert problem.hint == "It has the weights of `body`: name that."


def test_a_weight_that_is_computed_has_no_mask_and_is_refused():
    text = SPEC.replace("{linear: 8, name: body}", "{weight_norm: {layer: {linear: 8}}, name: body}")
    (problem,) = problems_of("{fraction: 0.5}", text)
    assert problem.message == "`prune` takes `body`, whose weight is computed from others in each step"
    assert problem.hint == "Leave it whole: `skip: [body]`."
    assert graph_of("{fraction: 0.5, skip: [body]}", text).pruned == 48 + 12


def test_an_optimizer_that_looks_at_the_loss_is_refused():
    text = (
        SPEC.replace("  inputs: [6]\n", "")
        + "data: {synthetic: {shape: [6], classes: 3}}\ntrain: {epochs: 1, optimizer: newton}\n"
    )
    (problem,) = problems_of("{fraction: 0.5}", text)
    assert problem.message == "newton moves all weights by looks at the loss, and `prune` holds some of them"


STAGED = """\
data: {synthetic: {shape: [6], classes: 3}}
network: {layers: [{linear: 16}, {linear: 3}]}
train: {epochs: 1}
stages: [{name: dense, FIRST}, {name: ticket, prune: {fraction: 0.5, rewind: init}, LATER}]
"""


@pytest.mark.parametrize(
    ("first", "later", "why"),
    [
        ("network: {layers: [{linear: 16}, relu, {linear: 3}]}", "", "have not the same network"),
        ("", "init: glorot_uniform", "have not the same `init`"),
        (
            "init: lsuv",
            "init: lsuv, data: {synthetic: {shape: [6], classes: 3, seed: 5}}",
            "`init` looks at the data",
        ),
        ("weights: {from: there.safetensors}", "", "begins with the weights of there.safetensors"),
    ],
)
def test_a_stage_rewinds_to_the_first_values_of_the_first_stage_or_says_why_it_cannot(first, later, why):
    text = STAGED.replace(", FIRST", f", {first}" if first else "").replace(", LATER", f", {later}" if later else "")
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(text))
    (problem,) = [one for one in raised.value.problems if "rewind" in one.path]
    assert why in problem.message
    assert problem.path == "stages.ticket.prune.rewind"


def test_the_plan_of_each_stage_says_what_is_left():
    graphs = trace_all(experiment_of(STAGED.replace(", FIRST", "").replace(", LATER", "")))
    assert [one.remaining for one in graphs.stages.values()] == [163, 163 - 72]
    assert graphs.remaining == 91
