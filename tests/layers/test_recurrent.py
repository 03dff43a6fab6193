"""Recurrent layers: torch's own modules, the equations of the books, and figures worked by hand."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from helpers import contradiction, experiment_of, network_of, refusal
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlx.graph import trace
from dlx.init.by_name import ByName
from dlx.init.constant import Constant
from dlx.init.he import HeNormal
from dlx.init.orthogonal import Orthogonal
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

THEIRS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
KINDS = sorted(THEIRS)
OPTIONS = [
    {},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "bias": False},
]
X = Shape((7, 3))


def made(kind, x=X, **options):
    """The layer with 5 values of state, its plan, and its module."""
    layer = LAYERS[kind].model_validate({"hidden_size": 5, **options})
    torch.manual_seed(0)
    return layer, layer.plan(x), layer.module(x)


def same_as(kind, ours, **options):
    """torch's own module with the weights of ours."""
    theirs = THEIRS[kind](3, 5, batch_first=True, **options)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return theirs


def on_meta(module, *shapes):
    with FlopCounterMode(display=False) as flops:
        module.to("meta")(*(torch.empty(1, *x, device="meta") for x in shapes))
    return flops.get_total_flops() // 2


# --- against torch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_fields_have_the_names_and_defaults_of_torch_or_are_said_to_be_others(kind):
    theirs = inspect.signature(nn.RNNBase).parameters
    for name, info in LAYERS[kind].model_fields.items():
        if name in theirs and not info.is_required():
            assert info.default == theirs[name].default
        elif name not in theirs:
            assert name in ("nonlinearity", "takes") or f"`{name}` is Keras' word" in " ".join(
                LAYERS[kind].__doc__.split()
            )
    assert LAYERS["rnn"].model_fields["nonlinearity"].default == nn.RNN(1, 1).nonlinearity


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_and_the_end_are_torch_s(kind, options):
    _, _, ours = made(kind, **options)
    _, plan, end = made(kind, **options, return_sequences=False)
    x = torch.randn(4, *X)

    y, state = same_as(kind, ours, **options)(x)
    last = state[0] if kind == "lstm" else state
    directions = 1 + options.get("bidirectional", False)

    torch.testing.assert_close(ours(x), y)
    torch.testing.assert_close(end(x), torch.cat(tuple(last[-directions:]), -1))
    assert plan.shape == (5 * directions,)


def test_in_both_directions_the_end_of_the_way_back_is_that_of_the_first_step():
    _, _, ours = made("lstm", bidirectional=True)
    _, _, end = made("lstm", bidirectional=True, return_sequences=False)
    x = torch.randn(4, *X)

    torch.testing.assert_close(end(x), torch.cat([ours(x)[:, -1, :5], ours(x)[:, 0, 5:]], -1))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_to_begin_at_is_torch_s(kind, layers):
    layer, _, ours = made(kind, num_layers=layers)
    x, *states = torch.randn(4, *X), torch.randn(4, layers, 5), torch.randn(4, layers, 5)
    inputs = states if kind == "lstm" else states[:1]
    theirs = [state.transpose(0, 1).contiguous() for state in inputs]

    y, _ = same_as(kind, ours, num_layers=layers)(x, tuple(theirs) if kind == "lstm" else theirs[0])

    torch.testing.assert_close(ours(x, *inputs), y)
    assert layer.plan(X, *(Shape(state.shape[1:]) for state in inputs)).shape == (7, 5)
    if layers == 1:
        torch.testing.assert_close(ours(x, *(state[:, 0] for state in inputs)), y)


def test_cells_begin_at_zero_where_only_the_state_is_given():
    _, _, ours = made("lstm")
    x, state = torch.randn(4, *X), torch.randn(4, 5)

    assert torch.equal(ours(x, state), ours(x, state, torch.zeros(4, 5)))


@pytest.mark.parametrize("options", [*OPTIONS, {"num_layers": 2, "proj_size": 2}])
@pytest.mark.parametrize("kind", KINDS)
def test_multiply_adds_are_those_that_torch_counts_on_the_meta_device(kind, options):
    if "proj_size" in options and kind != "lstm":
        return
    _, plan, ours = made(kind, **options)

    assert plan.macs == on_meta(ours, X)
    assert plan.sequential_steps == 7 * options.get("num_layers", 1) * (1 + options.get("bidirectional", False))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_falls_between_layers_while_training(kind):
    x = torch.randn(4, *X)
    _, plan, two = made(kind, num_layers=2, dropout=0.5)
    assert not torch.equal(two(x), two(x))
    assert not plan.warnings
    two.eval()
    assert torch.equal(two(x), two(x))

    _, plan, one = made(kind, dropout=0.5)
    assert torch.equal(one(x), one(x))
    assert plan.warnings == (f"dropout = 0.5 stands between layers, and {kind} has one: it does nothing",)


# --- against the equations ------------------------------------------------------------------------------------------


def by_steps(step, x, *states):
    made = []
    for t in range(x.shape[1]):
        states = step(x[:, t], *states)
        made.append(states[0])
    return torch.stack(made, 1)


@pytest.mark.parametrize(
    ("name", "g"), [("tanh", torch.tanh), ("relu", F.relu), ("sigmoid", torch.sigmoid), ("identity", lambda x: x)]
)
def test_an_rnn_is_equation_22_13(name, g):
    _, _, ours = made("rnn", nonlinearity=name)
    x = torch.randn(4, *X)

    def step(x, z):
        bias = ours.bias_ih_l0 + ours.bias_hh_l0
        return (g(z @ ours.weight_hh_l0.T + x @ ours.weight_ih_l0.T + bias),)

    torch.testing.assert_close(ours(x), by_steps(step, x, torch.zeros(4, 5)))


def test_an_lstm_is_the_five_equations_of_section_22_6_2():
    _, _, ours = made("lstm", bias=False)
    x = torch.randn(4, *X)

    def step(x, z, c):
        i, f, g, o = (x @ ours.weight_ih_l0.T + z @ ours.weight_hh_l0.T).chunk(4, -1)
        c = c * f.sigmoid() + i.sigmoid() * g.tanh()
        return c.tanh() * o.sigmoid(), c

    torch.testing.assert_close(ours(x), by_steps(step, x, torch.zeros(4, 5), torch.zeros(4, 5)))


def test_a_gru_resets_the_sums_of_the_state():
    _, _, ours = made("gru")
    x = torch.randn(4, *X)

    def step(x, z):
        of_x = (x @ ours.weight_ih_l0.T + ours.bias_ih_l0).chunk(3, -1)
        of_z = (z @ ours.weight_hh_l0.T + ours.bias_hh_l0).chunk(3, -1)
        r, u = ((a + b).sigmoid() for a, b in zip(of_x[:2], of_z[:2], strict=True))
        n = (of_x[2] + r * of_z[2]).tanh()
        return ((1 - u) * n + u * z,)

    torch.testing.assert_close(ours(x), by_steps(step, x, torch.zeros(4, 5)))


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_what_torch_has_not_is_put_together_as_torch_puts_its_own(activation, monkeypatch):
    """With tanh in its place it is torch's: layers, both directions, states and dropout at rest."""
    from dlx.modules import recurrent

    monkeypatch.setitem(recurrent.ACTIVATIONS, activation, torch.tanh)
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.5}
    layer, plan, ours = made("rnn", nonlinearity=activation, **options)
    x, state = torch.randn(4, *X), torch.randn(4, 4, 5)
    theirs = same_as("rnn", ours, **options).eval()
    end = layer.model_copy(update={"return_sequences": False}).module(X)
    end.load_state_dict(ours.state_dict())
    y, last = theirs(x, state.transpose(0, 1).contiguous())

    torch.testing.assert_close(ours.eval()(x, state), y)
    torch.testing.assert_close(end.eval()(x, state), torch.cat((last[-2], last[-1]), -1))
    torch.testing.assert_close(ours(x), theirs(x)[0])
    assert plan.macs == on_meta(ours, X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_sees_all_earlier_ones_and_no_later_one(kind):
    *_, ours = made(kind)
    x = torch.randn(4, *X, requires_grad=True)
    ours(x)[:, 3].sum().backward()

    assert trace(experiment_of(f"network: {{inputs: [7, 3], layers: [{{{kind}: 5}}]}}")).receptive_field == "global"
    assert [bool(x.grad[:, t].any()) for t in range(7)] == [True] * 4 + [False] * 3


# --- biases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [((10, 20), (2_400, 2_480, 2_560)), ((28, 128), (79_872, 80_384, 80_896))],
)
def test_an_lstm_has_the_weights_of_the_book_with_no_one_or_two_biases_a_gate(sizes, counts):
    values, hidden = sizes
    x = Shape((4, values))
    layers = [LAYERS["lstm"](hidden_size=hidden, bias=bias) for bias in (False, "one", True)]

    assert tuple(layer.plan(x).params for layer in layers) == counts
    assert tuple(sum(p.numel() for p in layer.module(x).parameters()) for layer in layers) == counts


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_bias_torch_s_second_is_zeros_that_nobody_learns_or_keeps(kind):
    layer, plan, one = made(kind, bias="one", bidirectional=True)
    two = same_as(kind, one, bidirectional=True)
    with torch.no_grad():
        for name, bias in two.named_parameters():
            if name.startswith("bias_hh"):
                bias.zero_()
    x = torch.randn(4, *X)

    torch.testing.assert_close(one(x), two(x)[0])
    assert plan.buffered == 2 * layer.gates * 5
    assert not any(name.startswith("bias_hh") for name in one.state_dict())
    assert one.double()(x.double()).dtype == torch.float64


# --- as part of a network -------------------------------------------------------------------------------------------


def test_initialisers_reach_every_weight_of_every_layer():
    network = build(network_of("{x: [7, 3]}", "- lstm: {hidden_size: 5, num_layers: 2}"), HeNormal())
    (lstm,) = network.children()

    assert {name for name, p in lstm.named_parameters() if not p.any()} == {
        f"bias_{of}_l{layer}" for of in ("ih", "hh") for layer in (0, 1)
    }
    bound = 5**-0.5  # of torch's own beginning
    assert all(p.abs().max() > bound for name, p in lstm.named_parameters() if name.startswith("weight"))


def test_initialisers_by_name_reach_recurrent_layers():
    init = ByName(match={"gru_1": Constant(value=0.5, bias=2.0)}, default=Orthogonal())
    network = build(network_of("{x: [7, 3]}", "- rnn: 5\n- gru: {hidden_size: 5, bias: one}"), init)

    assert {p.mean().item() for p in network.gru_1.parameters()} == {0.5, 2.0}
    assert not network.gru_1.bias_hh_l0.any()
    torch.testing.assert_close(network.rnn_1.weight_hh_l0 @ network.rnn_1.weight_hh_l0.T, torch.eye(5))


def test_without_an_initialiser_they_begin_as_torch_s():
    ours, theirs = made("gru")[2], nn.GRU(1, 1)
    torch.manual_seed(0)
    theirs = nn.GRU(3, 5)

    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_an_encoder_hands_its_state_to_a_decoder():
    graph = network_of(
        "{source: [7, 3], target: [4, 2]}",
        """
        - gru: {hidden_size: 5, return_sequences: false}
          name: encoder
          from: source
        - gru: 5
          name: decoder
          from: [target, encoder]
        """,
    )
    source, target = torch.randn(2, 7, 3, requires_grad=True), torch.randn(2, 4, 2)
    build(graph)(source, target)[:, 0].sum().backward()

    assert graph.by_name["decoder"].shape == (4, 5)
    assert bool(source.grad.any())


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "sentence", "way_out"),
    [
        (
            ("lstm", {"hidden_size": 5}, [(40,)]),
            "lstm goes from step to step of (steps, values), and (40,) has a single axis",
            "`- reshape: [-1, 1]` makes a step of each value.",
        ),
        (
            ("gru", {"hidden_size": 5}, [(3, 8, 8)]),
            "gru goes from step to step of (steps, values), and (3, 8, 8) has 3 axes",
            "`- reshape: [3, -1]` makes a step of each of the 3 on its first axis.",
        ),
        (
            ("rnn", {"hidden_size": 5}, [(7, 3), (4,)]),
            "the state that rnn begins at is (4,), and it has (1, 5) or (5,)",
            "One row for each layer, and for each direction of it; `- linear` makes the values fit.",
        ),
        (
            ("lstm", {"hidden_size": 5, "num_layers": 2, "proj_size": 3}, [(7, 3), (2, 3), (2, 3)]),
            "the state that lstm begins at is (2, 3), and it has (2, 5)",
            "One row for each layer, and for each direction of it; `- linear` makes the values fit.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(inputs, sentence, way_out):
    assert refusal(*inputs) == (sentence, way_out)


def test_a_projection_is_smaller_than_the_state():
    assert contradiction("lstm", {"hidden_size": 5, "proj_size": 5}) == "proj_size = 5 is not below hidden_size = 5"
