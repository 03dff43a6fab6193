"""Layers of graphs: the papers' sums by hand, the order of nodes, padded nodes, and what is refused."""

import math

import numpy as np
import pytest
import torch
from helpers import graph_of, network_of, refusal

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

KINDS = ["graph_conv", "graph_attention"]
WIDE = {"graph_conv": {"out_features": 6}, "graph_attention": {"out_features": 3, "heads": 2}}

WANTS = "wants an adjacency of (4, 4) floats or truth values for the nodes (4, 3)"


def made(kind, *xs, **options):
    shapes = [Shape(x.shape[1:], "bool" if x.dtype == torch.bool else "float") for x in xs]
    return LAYERS[kind].model_validate(options).module(*shapes).double()


def graph(nodes, features=4, n=2):
    """Nodes, an adjacency of both directions, and which nodes there are."""
    edges = torch.rand(n, nodes, nodes) < 0.4
    edges = (edges | edges.transpose(1, 2)) & ~torch.eye(nodes, dtype=torch.bool)
    return torch.randn(n, nodes, features).double(), edges.double(), torch.rand(n, nodes) < 0.7


def neighbours(adjacency, i, loops):
    return [j for j in range(len(adjacency)) if adjacency[i, j] or (loops and j == i)]


# --- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["symmetric", "mean", "none"])
@pytest.mark.parametrize("loops", [True, False])
def test_a_graph_convolution_sums_over_neighbours_as_the_paper_has_it(normalize, loops):
    torch.manual_seed(0)
    x, adjacency, _ = graph(6)
    adjacency[0, 2], adjacency[0, :, 2] = 0, 0  # a node without neighbours
    module = made("graph_conv", x, adjacency, out_features=3, normalize=normalize, add_self_loops=loops)
    torch.nn.init.normal_(module.bias)
    y = module(x, adjacency)

    for n, a in enumerate(adjacency):
        degree = [len(neighbours(a, i, loops)) for i in range(6)]
        for i in range(6):
            total = torch.zeros(4).double()
            for j in neighbours(a, i, loops):
                share = {
                    "symmetric": 1 / math.sqrt(max(1, degree[i] * degree[j])),
                    "mean": 1 / degree[i],
                    "none": 1.0,
                }
                total += share[normalize] * x[n, j]
            torch.testing.assert_close(y[n, i], module.weight @ total + module.bias)


def test_a_path_of_three_nodes_is_kipf_and_welling_s_matrix_in_numpy():
    """D^-1/2 (A + I) D^-1/2 X W of 0 - 1 - 2: degrees 2, 3, 2 with the loops."""
    adjacency = np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    x, w = np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([[0.5, -1.0], [2.0, 0.25]])
    half = np.diag(np.array([2, 3, 2]) ** -0.5)
    expected = half @ (adjacency + np.eye(3)) @ half @ x @ w
    nodes, edges = torch.from_numpy(x)[None], torch.from_numpy(adjacency)[None]
    module = made("graph_conv", nodes, edges, out_features=2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(w.T))

    np.testing.assert_allclose(module(nodes, edges)[0].detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(module(nodes, edges.bool())[0].detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(expected[0] @ np.linalg.inv(w), x[0] / 2 + x[1] / 6**0.5, rtol=1e-12)


def test_an_adjacency_of_truth_values_has_no_receptive_field_and_the_nodes_have_theirs():
    """It passes no gradient, and so does the mask; one of floats does."""
    text = """
        network:
          inputs: {{nodes: [4, 3], adjacency: {{shape: [4, 4], dtype: {}}}, mask: {{shape: [4], dtype: bool}}}}
          layers: [{{graph_conv: 2, from: [nodes, adjacency, mask]}}]
    """
    (of_truth,) = graph_of(text.format("bool")).nodes
    (of_floats,) = graph_of(text.format("float")).nodes

    assert list(of_truth.symbolic_fields) == ["nodes"]
    assert list(of_floats.symbolic_fields) == ["nodes", "adjacency"]


def test_the_weight_of_an_edge_counts():
    x, adjacency = torch.tensor([[[1.0], [10.0]]]).double(), torch.tensor([[[0.0, 0.5], [0.0, 0.0]]]).double()
    module = made("graph_conv", x, adjacency, out_features=1, normalize="none", bias=False)
    torch.nn.init.ones_(module.weight)

    assert module(x, adjacency).tolist() == [[[6], [10]]]


@pytest.mark.parametrize("concat", [True, False])
def test_graph_attention_weighs_neighbours_as_the_paper_has_it(concat):
    torch.manual_seed(0)
    x, adjacency, _ = graph(5)
    module = made("graph_attention", x, adjacency, out_features=3, heads=2, concat=concat)
    torch.nn.init.normal_(module.bias)
    y = module(x, adjacency)

    for n, i in ((0, 0), (0, 3), (1, 4)):
        heads = []
        for head in range(2):
            values = x[n] @ module.weight[3 * head : 3 * head + 3].T
            to, source = module.att_dst[head], module.att_src[head]
            near = neighbours(adjacency[n], i, True)
            scores = torch.stack(
                [torch.nn.functional.leaky_relu(values[i] @ to + values[j] @ source, 0.2) for j in near]
            )
            heads.append(scores.softmax(0) @ values[near])
        expected = torch.cat(heads) if concat else torch.stack(heads).mean(0)
        torch.testing.assert_close(y[n, i], expected + module.bias)


def test_a_node_without_neighbours_gives_the_bias_alone():
    x, adjacency = torch.randn(1, 3, 4).double(), torch.zeros(1, 3, 3).double()
    for kind in KINDS:
        module = made(kind, x, adjacency, add_self_loops=False, **WIDE[kind])
        torch.nn.init.normal_(module.bias)
        torch.testing.assert_close(module(x, adjacency), module.bias.expand(1, 3, 6))


# --- order and padding ----------------------------------------------------------------------------------------------


def difference_by_order(network, x, adjacency, *mask):
    """The largest difference between the output of reordered nodes and the reordered output."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = network(x[:, order], adjacency[:, order][:, :, order], *(m[:, order] for m in mask))
    return (moved - network(x, adjacency, *mask)[:, order]).abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
def test_reordered_nodes_give_the_reordered_output(kind):
    torch.manual_seed(0)
    x, adjacency, mask = graph(6)

    assert difference_by_order(made(kind, x, adjacency, mask, **WIDE[kind]), x, adjacency, mask) < 1e-12


def test_a_dense_layer_on_all_nodes_depends_on_their_order():
    torch.manual_seed(0)
    x, adjacency, _ = graph(6)
    layers = "- {flatten: , from: nodes}\n- linear: 36\n- reshape: [6, 6]\n- {add: , from: [prev, edges]}"
    dense = build(network_of("{nodes: [6, 4], edges: [6, 6]}", layers)).double()

    assert difference_by_order(dense, x, adjacency) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_graph_gives_what_it_gives_alone(kind):
    torch.manual_seed(0)
    x, adjacency, _ = graph(4, n=1)
    module = made(kind, x, adjacency, **WIDE[kind])
    torch.nn.init.normal_(module.bias)
    padded = torch.full((1, 7, 4), math.nan).double()
    padded[:, :4] = x
    edges = torch.ones(1, 7, 7).double()
    edges[:, :4, :4] = adjacency
    there = torch.arange(7)[None] < 4

    made_of_padded = module(padded, edges, there)

    torch.testing.assert_close(made_of_padded[:, :4], module(x, adjacency))
    assert made_of_padded[:, 4:].abs().max() == 0
    assert not torch.allclose(module(padded.nan_to_num(1.0), edges)[:, :4], module(x, adjacency))  # without the mask


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_adjacencies_of_floats_integers_and_truth_values_are_alike(kind):
    torch.manual_seed(0)
    x, adjacency, mask = graph(6)
    module = made(kind, x, adjacency, mask, **WIDE[kind])

    assert torch.equal(module(x, adjacency, mask), module(x, adjacency.bool(), mask.double()))


@pytest.mark.parametrize(("reduce", "expected"), [("mean", [2, -2]), ("sum", [4, -4]), ("amax", [3, -1])])
def test_masked_pool_leaves_out_what_is_not_there(reduce, expected):
    x = torch.tensor([[[1.0, -1], [3, -3], [99, 99]], [[7, 7], [7, 7], [7, 7]]])
    mask = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    pool = LAYERS["masked_pool"](reduce=reduce).module(Shape((3, 2)), Shape((3,)))

    assert pool(x, mask).tolist() == [expected, [0, 0]]


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        ("graph_conv", [(4,), (4, 4)], "graph_conv takes nodes of (V, F), and (4,) is not of two axes"),
        (
            "graph_attention",
            [(4, 3), (3, 3)],
            f"graph_attention {WANTS}, and is given (3, 3)",
        ),
        (
            "graph_conv",
            [Shape((4, 3)), Shape((4, 4), "int")],
            f"graph_conv {WANTS}, and is given (4, 4) of dtype int",
        ),
        (
            "graph_conv",
            [(4, 3), (4, 4), (3,)],
            "graph_conv wants a mask of (4,) floats or truth values for (4, 3), and is given (3,)",
        ),
        (
            "masked_pool",
            [(4, 3), (3,)],
            "masked_pool wants a mask of (4,) floats or truth values for (4, 3), and is given (3,)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kind, inputs, message):
    options = {} if kind == "masked_pool" else {"out_features": 2}
    assert refusal(kind, options, inputs)[0] == message
