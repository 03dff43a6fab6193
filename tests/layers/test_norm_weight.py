"""Layers whose weight is worked out from other tensors: a layer as a field of another."""

import pytest
import torch
from helpers import experiment_of, graph_of, network_of
from torch import nn
from torch.nn.utils import parametrizations

from dlx.errors import ShapeError, SpecError
from dlx.graph import trace
from dlx.init import INITIALIZERS
from dlx.layers import LAYERS
from dlx.network import build
from dlx.reference.vocabulary import page
from dlx.shapes import Shape
from dlx.spec import load

LINEAR = {"linear": {"out_features": 6}}


def both(kind, x, **options):
    layer, shape = LAYERS[kind].model_validate(options), Shape(x)
    return layer.plan(shape), layer.module(shape)


@pytest.mark.parametrize(
    ("inner", "x"),
    [
        (LINEAR, (5,)),
        ({"linear": {"out_features": 1, "bias": False}}, (3, 5)),
        ({"conv": {"out_channels": 6, "kernel_size": 3}}, (4, 9)),
        ({"conv": {"out_channels": 6, "kernel_size": 3, "groups": 2}}, (4, 9, 8)),
        ({"conv": {"out_channels": 6, "kernel_size": 2}}, (4, 5, 4, 3)),
        ({"conv_transpose": {"out_channels": 6, "kernel_size": 3}}, (4, 5, 5)),
        ("batch_norm", (4, 5)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("weight_norm", {}),
        ("weight_norm", {"dim": None}),
        ("spectral_norm", {}),
        ("spectral_norm", {"dim": 0}),
        ("spectral_norm", {"n_power_iterations": 3}),
    ],
    ids=str,
)
def test_the_plan_has_torch_s_tensors_by_name_and_shape(kind, options, inner, x):
    plan, module = both(kind, x, layer=inner, **options)

    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == dict(plan.weights)
    assert {name: tuple(b.shape) for name, b in module.named_buffers()} == dict(plan.buffers)
    assert module(torch.randn(2, *x)).shape[1:] == plan.shape


def test_weight_norm_counts_a_length_for_each_output_more():
    plain, _ = both("linear", (5,), out_features=6)
    normed, _ = both("weight_norm", (5,), layer=LINEAR)

    assert normed.params - plain.params == 6
    assert (normed.macs, normed.shape, normed.window) == (plain.macs, plain.shape, plain.window)


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm_is_a_length_times_a_direction(dim):
    _, module = both("weight_norm", (5,), layer=LINEAR, dim=dim)
    g, v = module.parametrizations.weight.original0, module.parametrizations.weight.original1
    with torch.no_grad():
        g.fill_(3)

    torch.testing.assert_close(module.weight, 3 * v / v.norm(dim=1 - dim, keepdim=True))
    torch.testing.assert_close(module.weight.norm(dim=1 - dim), torch.full((v.shape[dim],), 3.0))


def test_weight_norm_starts_with_the_weight_that_the_layer_would_have():
    torch.manual_seed(0)
    alone = nn.Linear(5, 6)
    torch.manual_seed(0)
    _, module = both("weight_norm", (5,), layer=LINEAR)

    torch.testing.assert_close(module.weight, alone.weight)


def test_spectral_norm_brings_the_largest_singular_value_to_one():
    torch.manual_seed(0)
    _, module = both("spectral_norm", (5,), layer=LINEAR)
    for _ in range(100):
        module(torch.zeros(1, 5))

    assert torch.linalg.svdvals(module.eval().weight)[0].item() == pytest.approx(1, abs=1e-4)


def test_spectral_norm_is_torch_s():
    torch.manual_seed(0)
    theirs = parametrizations.spectral_norm(nn.ConvTranspose1d(4, 6, 3), n_power_iterations=2)
    torch.manual_seed(0)
    inner = {"conv_transpose": {"out_channels": 6, "kernel_size": 3}}
    _, ours = both("spectral_norm", (4, 9), layer=inner, n_power_iterations=2)
    x = torch.randn(2, 4, 9)

    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_an_initialiser_reaches_the_weight(kind):
    torch.manual_seed(0)
    graph = network_of("[300]", f"- {kind}: {{layer: {{linear: {{out_features: 200}}}}}}")
    network = build(graph, INITIALIZERS["he_normal"]())
    held = network.get_submodule(f"{kind}_1")
    weight = held.weight if kind == "weight_norm" else held.parametrizations.weight.original

    assert weight.std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert (held.bias == 0).all()


def test_a_network_with_a_normed_weight_learns_and_is_saved_by_torch_s_names():
    torch.manual_seed(0)
    network = build(network_of("[4]", "- weight_norm: {layer: {linear: 8}}\n- relu\n- linear: 1"))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    x = torch.randn(64, 4)
    first = last = (network(x) - x[:, :1]).square().mean()
    for _ in range(50):
        optimizer.zero_grad()
        last = (network(x) - x[:, :1]).square().mean()
        last.backward()
        optimizer.step()

    assert last < first / 2
    assert list(network.state_dict())[:3] == [
        "weight_norm_1.bias",
        "weight_norm_1.parametrizations.weight.original0",
        "weight_norm_1.parametrizations.weight.original1",
    ]


def refused(kind, x, **options):
    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind].model_validate(options).plan(*map(Shape, x))
    problem = refusal.value.problem_for([str(Shape(s)) for s in x])
    return problem.message, problem.hint


def test_a_layer_without_that_weight_is_refused():
    assert refused("weight_norm", [(5,)], layer="relu") == (
        "weight_norm wraps relu, which has no weight of its own",
        "Wrap a layer such as `linear` or `conv`.",
    )
    assert refused("spectral_norm", [(5,)], layer=LINEAR, name="wieght") == (
        "spectral_norm wraps linear, which has no weight `wieght`",
        "Did you mean `weight`?",
    )
    assert refused("weight_norm", [(5,)], layer={"weight_norm": {"layer": LINEAR}}) == (
        "weight_norm wraps weight_norm, which has no weight `weight`",
        "There is weight bias.",
    )
    assert refused("weight_norm", [(5,)], layer=LINEAR, dim=2) == (
        "weight_norm has dim = 2, and `weight` of linear is (6, 5)",
        "Its axes are 0 to 1; 0 is what the layer gives.",
    )
    assert refused("weight_norm", [(5,), (5,)], layer="add")[0] == (
        "weight_norm wraps a layer of one input, and add takes several"
    )


def test_what_the_layer_inside_refuses_is_reported_in_its_words():
    inner = {"conv": {"out_channels": 8, "kernel_size": 3, "groups": 2}}

    assert refused("weight_norm", [(3, 8)], layer=inner) == (
        "3 input channels do not split into groups = 2",
        "Pick a divisor of 3, or drop `groups`.",
    )


# --- a layer as a field of another, in a spec -----------------------------------------------------------------------


def test_a_layer_as_a_field_knows_the_shape_that_comes_in():
    graph = network_of(
        "[6, 9]", "- weight_norm: {layer: {conv: {out_channels: '${2 * x.channels}', kernel_size: 3}}}"
    )

    assert tuple(graph.nodes[0].shape) == (12, 7)


SPEC = """
network:
  inputs: [4, 9]
  layers:
    - weight_norm:
        layer: {conv: {out_channels: 8, kernel_size: 3}}
    - spectral_norm: {layer: {linear: 5}}
    - per_unit:
        activations: [relu, tanh, relu, relu, {leaky_relu: 0.1}, relu, relu, relu]
"""


def mistakes(text):
    with pytest.raises(SpecError) as refusal:
        trace(experiment_of(text))
    return [(p.mark.line, p.path, p.message) for p in refusal.value.problems]


def test_a_mistake_in_a_layer_as_a_field_is_reported_at_its_place():
    wrong = SPEC.replace("kernel_size: 3", "kernle_size: 3").replace("relu, tanh", "relu, tahn")
    wrong = wrong.replace("linear: 5", "linear: five").replace("leaky_relu: 0.1", "leaky_relu: {slope: 0.1}")

    assert mistakes(wrong) == [
        (6, "network.layers.weight_norm_1.layer.conv.kernle_size", "`conv` has no field `kernle_size`"),
        (
            7,
            "network.layers.spectral_norm_1.layer.linear.out_features",
            '`out_features` must be a whole number, not "five"',
        ),
        (9, "network.layers.per_unit_1.activations.1", "there is no layer `tahn`"),
        (9, "network.layers.per_unit_1.activations.4.leaky_relu.slope", "`leaky_relu` has no field `slope`"),
    ]


def test_a_field_that_wants_layers_says_so():
    wrong = SPEC.replace("{conv: {out_channels: 8, kernel_size: 3}}", "3")
    wrong = wrong.replace("[relu, tanh, relu, relu, {leaky_relu: 0.1}, relu, relu, relu]", "relu")

    assert [message for _, _, message in mistakes(wrong)] == [
        "`layer` wants the kind of a layer, not 3",
        '`activations` must be a list, not "relu"',
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("weight_norm_1.layer.conv.out_channels=4", {"weight_norm": {"layer": {"conv": {"out_channels": 4}}}}),
        ("weight_norm_1.layer.out_channels=4", {"weight_norm": {"layer": {"conv": {"out_channels": 4}}}}),
        (
            "weight_norm_1.weight_norm.layer.conv.out_channels=4",
            {"weight_norm": {"layer": {"conv": {"out_channels": 4}}}},
        ),
        ("weight_norm_1.dim=1", {"weight_norm": {"dim": 1}}),
        (
            "spectral_norm_1.layer.linear.bias=false",
            {"spectral_norm": {"layer": {"linear": {"out_features": 5, "bias": False}}}},
        ),
        (
            "spectral_norm_1.layer.bias=false",
            {"spectral_norm": {"layer": {"linear": {"out_features": 5, "bias": False}}}},
        ),
        ("spectral_norm_1.layer.linear=7", {"spectral_norm": {"layer": {"linear": 7}}}),
        ("spectral_norm_1.layer={linear:7}", {"spectral_norm": {"layer": {"linear": 7}}}),
    ],
)
def test_an_override_reaches_into_a_layer_as_a_field(tmp_path, override, line):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)

    changed = load(path, [f"network.layers.{override}"]).network.at("layers").plain()

    def within(part, whole):
        return all(within(v, whole[k]) if isinstance(v, dict) else whole[k] == v for k, v in part.items())

    assert any(kind in entry and within(line, entry) for entry in changed for kind in line)


@pytest.mark.parametrize(
    ("override", "activations"),
    [
        ("per_unit_1.activations.0=gelu", ["gelu", "tanh"]),
        ("per_unit_1.activations.1={elu:0.5}", ["relu", {"elu": 0.5}]),
        ("per_unit_1.activations=[tanh,relu]", ["tanh", "relu"]),
    ],
)
def test_an_override_reaches_one_activation_of_a_list(tmp_path, override, activations):
    path = tmp_path / "spec.yaml"
    path.write_text("network: {inputs: [2], layers: [{per_unit: {activations: [relu, tanh]}}]}")

    changed = load(path, [f"network.layers.{override}"])

    assert changed.network.at("layers").plain() == [{"per_unit": {"activations": activations}}]
    trace(changed)


def test_the_page_of_a_layer_with_layers_reads_like_a_spec():
    wrapper, several = page("weight_norm"), page("per_unit")

    assert next((name, what) for name, what, *_ in wrapper.fields) == ("layer", "layer")
    assert next((name, what) for name, what, *_ in several.fields) == ("activations", "list of layers")
    assert wrapper.example == "- weight_norm: {layer: {conv: {out_channels: 8, kernel_size: 3}}}"
    assert several.example == "- per_unit: [relu, {leaky_relu: {negative_slope: 0.1}}, prelu]"
    for p in (wrapper, several):
        shape = "[4, 10]" if p is wrapper else "[3, 5]"
        assert graph_of(f"network:\n  inputs: {shape}\n  layers:\n    {p.example}\n").nodes


def test_python_may_say_a_layer_as_a_spec_does():
    one, other = LAYERS["weight_norm"](layer=LAYERS["linear"](out_features=6)), LAYERS["weight_norm"](layer=LINEAR)

    assert one == other == LAYERS["weight_norm"](layer={"linear": 6})
    with pytest.raises(ValueError, match="there is no layer `linaer`"):
        LAYERS["weight_norm"](layer="linaer")
