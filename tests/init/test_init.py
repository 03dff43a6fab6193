"""How weights begin: spreads by the size of the layer, given values, and other initialisers by name."""

import math

import pytest
import torch
from complaints import lines, report
from helpers import SHIPPED, experiment_of, graph_of, network_of
from pydantic import ValidationError
from torch import nn

from dlx.graph import trace
from dlx.init import INITIALIZERS
from dlx.network import build
from dlx.spec import load

SHAPES = {"linear": (300, 500), "conv 3x3": (64, 48, 3, 3), "depthwise": (512, 1, 5, 5), "conv 1-D": (200, 80, 7)}


def initialised(kind: str, shape: tuple[int, ...], **options) -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.empty(shape)
    INITIALIZERS[kind](**options).fill(weight)
    return weight


def fan(shape: tuple[int, ...]) -> tuple[int, int]:
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


VARIANCE = {
    "he_normal": lambda i, o: 2 / i,
    "he_uniform": lambda i, o: 2 / i,
    "glorot_normal": lambda i, o: 2 / (i + o),
    "glorot_uniform": lambda i, o: 2 / (i + o),
    "lecun_normal": lambda i, o: 1 / i,
    "lecun_uniform": lambda i, o: 1 / i,
    "inverse_sqrt": lambda i, o: 1 / i,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", VARIANCE)
def test_a_scaled_initialiser_has_the_variance_of_its_formula(kind, shape):
    """The mean of n squares of a normal has a relative deviation of sqrt(2/n), of a uniform sqrt(0.8/n)."""
    weight, variance = initialised(kind, shape), VARIANCE[kind](*fan(shape))
    n = weight.numel()
    assert weight.square().mean().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
    assert abs(weight.mean().item()) < 5 * math.sqrt(variance / n)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_he_and_glorot_are_those_of_torch_to_the_bit(shape):
    def torchs(fill, **options) -> torch.Tensor:
        torch.manual_seed(0)
        return fill(torch.empty(shape), **options)

    relu = {"nonlinearity": "relu"}
    out = {"mode": "fan_out"}
    assert torch.equal(initialised("he_normal", shape), torchs(nn.init.kaiming_normal_, **relu))
    assert torch.equal(initialised("he_uniform", shape, **out), torchs(nn.init.kaiming_uniform_, **relu, **out))
    assert torch.equal(initialised("he_normal", shape, a=0.25), torchs(nn.init.kaiming_normal_, a=0.25))
    assert torch.equal(initialised("glorot_normal", shape), torchs(nn.init.xavier_normal_))
    assert torch.equal(initialised("glorot_uniform", shape, gain=1.5), torchs(nn.init.xavier_uniform_, gain=1.5))


def test_he_of_a_3x3_convolution_is_2_over_9_channels():
    """Understanding Deep Learning, problem 10.19."""
    weight = initialised("he_normal", (256, 64, 3, 3))
    assert weight.var().item() == pytest.approx(2 / (9 * 64), rel=5 * math.sqrt(2 / weight.numel()))


def test_he_keeps_the_variance_through_relu_layers_and_one_over_n_through_linear_ones():
    """Ten layers of 1,000 units, as the figures of the books have them: 0.01 dies out, 1 blows up."""

    def last(kind: str, relu: bool, **options) -> float:
        torch.manual_seed(1)
        x = torch.randn(200, 1000)
        for _ in range(10):
            weight = torch.empty(1000, 1000)
            INITIALIZERS[kind](**options).fill(weight)
            x = x @ weight.T
            x = x.relu() if relu else x
        return x.square().mean().item()

    assert 0.7 < last("he_normal", relu=True) < 1.4
    assert 0.7 < last("lecun_normal", relu=False) < 1.4
    assert last("normal", relu=False, std=0.01) == pytest.approx((1000 * 1e-4) ** 10, rel=0.4)
    assert last("normal", relu=False, std=1.0) > 1e28


def test_plain_distributions_have_what_is_asked_for():
    shape = (400, 500)
    normal = initialised("normal", shape, std=0.02, mean=0.5)
    assert normal.mean().item() == pytest.approx(0.5, abs=5 * 0.02 / math.sqrt(200_000))
    assert normal.std().item() == pytest.approx(0.02, rel=0.01)
    uniform = initialised("uniform", shape, b=0.3)
    assert (uniform.min() >= -0.3, uniform.max() <= 0.3) == (True, True)
    assert uniform.var().item() == pytest.approx(0.6**2 / 12, rel=0.01)
    between = initialised("uniform", shape, a=1.0, b=2.0)
    assert between.mean().item() == pytest.approx(1.5, abs=0.004)
    cut = initialised("trunc_normal", shape, std=0.02)
    assert cut.abs().max() <= 0.04
    assert cut.std().item() == pytest.approx(0.8796 * 0.02, rel=0.01)


def test_given_values_are_exact():
    assert (initialised("zeros", (3, 4)) == 0).all()
    assert (initialised("constant", (3, 4), value=0.25) == 0.25).all()
    assert torch.equal(initialised("identity", (4, 3)), torch.eye(4, 3))


def test_an_identity_hands_its_input_on():
    graph = network_of("[3, 6, 6]", "- conv: {out_channels: 3, kernel_size: 3, padding: 1}")
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(build(graph, INITIALIZERS["identity"]())(x), x)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (5, 2, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    matrix = initialised("orthogonal", shape, gain=2.0).flatten(1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(small, 4 * torch.eye(len(small)))


def test_a_delta_orthogonal_convolution_keeps_lengths():
    graph = network_of("[3, 8, 8]", "- conv: {out_channels: 5, kernel_size: 3, padding: 1, bias: false}")
    network, x = build(graph, INITIALIZERS["delta_orthogonal"]()), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network(x).square().sum(1), x.square().sum(1))
    assert torch.count_nonzero(network.conv_1.weight.abs().sum((0, 1))) == 1


# --- biases ---------------------------------------------------------------------------------------------------------

TWO = "- conv: {out_channels: 64, kernel_size: 3}\n- batch_norm\n- flatten\n- linear: 2000"


def test_biases_are_zero_unless_given():
    for bias in (0.0, 0.01):
        network = build(network_of("[2, 6, 6]", TWO), INITIALIZERS["he_normal"](bias=bias))
        assert (network.conv_1.bias == bias).all()
        assert (network.linear_1.bias == bias).all()
        assert (network.batch_norm_1.bias == 0).all()


def test_biases_can_be_drawn_like_the_weights():
    """As the shattered gradients of Understanding Deep Learning, figure 11.3, have them: variance 1/D_h."""
    torch.manual_seed(0)
    network = build(network_of("[2, 6, 6]", TWO), INITIALIZERS["lecun_normal"](bias="drawn"))
    bias = network.linear_1.bias
    assert bias.var().item() == pytest.approx(1 / (64 * 4 * 4), rel=5 * math.sqrt(2 / 2000))
    assert not torch.equal(bias, network.linear_1.weight.flatten()[:2000])


@pytest.mark.parametrize(
    "name", ["udl/shattered-gradients-1", "udl/shattered-gradients-24", "sweeps/shallow-widths-and-depths"]
)
def test_the_shipped_nets_of_one_input_have_joints_at_many_places(name):
    """A first-layer unit bends at -bias / weight; with biases of zero all would bend at x = 0."""
    experiment = load(SHIPPED[name])
    torch.manual_seed(0)
    first = build(trace(experiment), experiment.init).linear_1
    joints = -first.bias / first.weight[:, 0]
    assert joints.unique().numel() == joints.numel()
    assert joints.abs().min() > 0


@pytest.mark.parametrize("kind", ["orthogonal", "identity", "zeros"])
def test_what_has_no_spread_draws_no_biases(kind):
    with pytest.raises(ValidationError, match=f"{kind} cannot draw biases: give `bias` a number"):
        INITIALIZERS[kind](bias="drawn")


def test_a_bare_value_is_the_first_field_and_never_the_bias():
    init = experiment_of("init: {normal: 0.01}\nnetwork: {inputs: [3], layers: [{linear: 2}]}").init
    assert (init.std, init.bias) == (0.01, 0)


# --- by name --------------------------------------------------------------------------------------------------------

BY_NAME = """
init:
  by_name:
    match:
      fc_*: {normal: {std: 0.01, bias: 1}}
      "block_*/linear_2": zeros
      fc_2: {constant: 7}
    default: {constant: 3}
network:
  inputs: [4]
  layers:
    - {linear: 400, name: fc_1}
    - repeat:
        times: 2
        layers:
          - residual: {layers: [{linear: 400}, relu, {linear: 400}]}
            name: block_${i}
    - {linear: 50, name: fc_2}
    - linear: 3
"""


def test_the_first_pattern_that_matches_a_node_fills_it():
    torch.manual_seed(0)
    network = build(graph_of(BY_NAME), experiment_of(BY_NAME).init)

    for fc in (network.fc_1, network.fc_2):  # fc_* stands before fc_2
        assert fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert (fc.bias == 1).all()
    for block in (network.block_0, network.block_1):
        assert (block.linear_1.weight == 3).all()
        assert (block.linear_2.weight == 0).all()
    assert (network.linear_1.weight == 3).all()
    x = torch.randn(2, 4)
    torch.testing.assert_close(
        network(x), network.linear_1(network.fc_2(network.fc_1(x)))
    )  # the blocks are identities


def test_what_no_pattern_matches_stays_as_torch_makes_it():
    text = BY_NAME.replace("    default: {constant: 3}\n", "")
    torch.manual_seed(0)
    network = build(graph_of(text), experiment_of(text).init)
    torch.manual_seed(0)
    assert torch.equal(network.linear_1.bias, build(graph_of(text)).linear_1.bias)
    assert (network.linear_1.weight != 3).all()


def test_another_spec_s_initialiser_of_a_pattern_can_be_replaced(tmp_path):
    (tmp_path / "base.yaml").write_text(BY_NAME)
    (tmp_path / "s.yaml").write_text("defaults: [base]\ninit: {by_name: {match: {fc_*: he_normal}}}\n")
    from dlx.spec import load

    init = load(tmp_path / "s.yaml").init
    assert [one.kind for one in init.match.values()] == ["he_normal", "zeros", "constant"]
    assert load(tmp_path / "s.yaml", ["init.by_name.match.fc_2=zeros"]).init.match["fc_2"].kind == "zeros"


WRONG = {
    "{by_name: {match: {fc: zeros, linear_1: zeros}}}": """
        s.yaml:1:26  init.by_name.match.fc
          `init` matches no node with weights to draw: "fc"
          There is linear_1.
    """,
    "{by_name: {match: {batch_norm_1: zeros}}}": """
        s.yaml:1:26  init.by_name.match.batch_norm_1
          `init` matches no node with weights to draw: "batch_norm_1"
          Norms keep their ones and zeros: `values: {weight: 0}` beside one sets its scale.
    """,
    "{by_name: {match: {linear_1: zeroes}}}": """
        s.yaml:1:26  init.by_name.match.linear_1
          there is no initialiser `zeroes`
          Did you mean `zeros`?
    """,
    "{by_name: {match: {linear_1: {normal: {std: -1}}}}}": """
        s.yaml:1:46  init.by_name.match.linear_1.normal.std
          `std` must be at least 0, not -1
          std: standard deviation.
    """,
    "{by_name: {match: {linear_1: {by_name: {match: {a: zeros}}}}}}": """
        s.yaml:1:8  init.by_name
          by_name stands inside by_name: write all patterns in one
    """,
    "{by_name: zeros}": """
        s.yaml:1:8  init.by_name.match
          `match` must be a mapping, not "zeros"
          match: initialisers by name of the node.
    """,
    "{uniform: {a: 2, b: 1}}": """
        s.yaml:1:8  init.uniform
          uniform from a = 2 to b = 1 is empty: let a be the smaller one
    """,
    "normal": """
        s.yaml:1:1  init.normal.std
          `std` is missing
          std: standard deviation.
    """,
}


@pytest.mark.parametrize(("written", "message"), WRONG.items(), ids=WRONG)
def test_a_mistake_in_init_is_reported_at_its_place(tmp_path, written, message):
    text = f"init: {written}\nnetwork: {{inputs: [3], layers: [{{linear: 2}}, batch_norm]}}\n"
    assert report(tmp_path, text) == lines(message)


def test_a_pattern_that_may_match_behind_a_mistake_is_not_blamed(tmp_path):
    text = "init: {by_name: {match: {linear_2: zeros}}}\nnetwork: {inputs: [3], layers: [{linear: 0}, {linear: 2}]}\n"
    assert "matches no node" not in report(tmp_path, text)


def test_a_pattern_may_be_a_scope():
    tower = "{inputs: [3], layers: [{name: tower, layers: [{linear: 2}]}]}"
    spec = f"init: {{by_name: {{match: {{tower: zeros}}}}}}\nnetwork: {tower}"
    network = build(trace(experiment_of(spec)), experiment_of(spec).init)
    assert (network.tower.linear_1.weight == 0).all()
