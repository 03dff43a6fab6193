"""Functions of values, reductions, constants and picked entries: against torch or by hand, and what they refuse."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of, refusal
from pydantic import ValidationError

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def run(kind, *values, **options):
    shapes = [Shape(v.shape[1:], "float" if v.is_floating_point() else "int") for v in values]
    return LAYERS[kind].model_validate(options).module(*shapes)(*values)


@pytest.mark.parametrize("kind", ["sin", "cos", "exp", "log"])
def test_a_function_is_that_of_python(kind):
    values = [0.1, 0.5, 1.0, 3.0]

    made = run(kind, torch.tensor([values], dtype=torch.float64))

    assert made[0].tolist() == pytest.approx([getattr(math, kind)(value) for value in values], rel=1e-15)


def test_divide_is_the_quotient_of_two_inputs_and_stretches():
    x, y = torch.tensor([[[6.0, 8.0]]]), torch.tensor([[[2.0]]])

    assert run("divide", x, y).tolist() == [[[3, 4]]]
    assert run("divide", y, x).tolist() == [[[pytest.approx(1 / 3), 0.25]]]


def test_sum_adds_along_axes():
    x = torch.arange(12.0).view(1, 2, 2, 3)

    assert run("sum", x, dim=1).tolist() == [[[6, 8, 10], [12, 14, 16]]]
    assert run("sum", x, dim=[2, 3], keepdim=True).tolist() == [[[[15]], [[51]]]]


def test_the_length_of_a_vector_is_that_of_pythagoras():
    x = torch.tensor([[[3.0, 4.0], [6.0, -8.0]]])

    assert run("vector_norm", x, dim=2).tolist() == [[5, 10]]
    assert run("vector_norm", x, dim=2, ord=1).tolist() == [[7, 14]]
    assert run("vector_norm", x, dim=2, keepdim=True).shape == (1, 2, 1)


def test_normalized_vectors_have_length_1_and_a_vector_of_zeros_stays():
    x = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]])

    made = run("normalize", x)

    assert made[0].tolist() == [[pytest.approx(0.6), 0], [pytest.approx(0.8), 0]]
    torch.testing.assert_close(run("normalize", x, p=1, dim=-1, eps=0.1), F.normalize(x, 1, -1, 0.1))


# --- constants ------------------------------------------------------------------------------------------------------


def test_a_constant_is_the_same_for_every_sample_and_is_not_learned():
    module = LAYERS["constant"](value=[[1, 2], [3, 4]]).module(Shape((7,)))

    assert module(torch.randn(3, 7)).tolist() == [[[1, 2], [3, 4]]] * 3
    assert list(module.parameters()) == []
    assert set(module.state_dict()) == {"value"}


def test_a_constant_number_has_the_shape_that_comes_in():
    assert LAYERS["constant"](value=2).plan(Shape((3, 5))).shape == (3, 5)
    assert run("constant", torch.zeros(1, 2, 2), value=0.5).tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


def test_rows_of_several_lengths_and_none_are_no_constant():
    for value in ([[1, 2], [3]], [], [[], []]):
        with pytest.raises(ValidationError, match="rows of several lengths, or none"):
            LAYERS["constant"](value=value)
    with pytest.raises(ValidationError, match="not whole, and `dtype` is int"):
        LAYERS["constant"](value=[1, 2.5], dtype="int")


def test_a_network_gathers_by_a_constant():
    layers = """
        - constant: {value: [2, 0], dtype: int}
          name: which
          from: x
        - gather: {}
          from: [x, which]
    """
    network = build(network_of("{x: [3, 2]}", layers))
    x = torch.randn(4, 3, 2)

    assert torch.equal(network(x), x[:, [2, 0]])


# --- picked entries -------------------------------------------------------------------------------------------------


def test_an_index_of_one_axis_gathers_whole_entries():
    x, index = torch.arange(12.0).view(1, 3, 4), torch.tensor([[2, 0]])

    assert run("gather", x, index).tolist() == [[[8, 9, 10, 11], [0, 1, 2, 3]]]
    assert run("gather", x, index, dim=2).tolist() == [[[2, 0], [6, 4], [10, 8]]]


def test_each_sample_gathers_by_its_own_index():
    x, index = torch.randn(2, 5, 3), torch.tensor([[4, 4], [0, 1]])

    assert torch.equal(run("gather", x, index), torch.stack([x[0, [4, 4]], x[1, [0, 1]]]))


@pytest.mark.parametrize("dim", [1, 2, -1])
def test_an_index_with_all_axes_is_that_of_torch(dim):
    x = torch.randn(2, 4, 4)
    index = torch.randint(4, (2, 4, 4))[:, : 3 if dim == 1 else 4, : 4 if dim == 1 else 3]

    assert torch.equal(run("gather", x, index, dim=dim), torch.gather(x, dim, index))


@pytest.mark.parametrize(("largest", "expected"), [(True, [9, 7]), (False, [-3, 1])])
def test_topk_gives_the_largest_or_smallest_in_order(largest, expected):
    assert run("topk", torch.tensor([[1.0, 9, -3, 7]]), k=2, largest=largest).tolist() == [expected]


def test_the_gradient_of_topk_reaches_what_was_kept():
    x = torch.tensor([[1.0, 9, -3, 7]], requires_grad=True)
    run("topk", x, k=2).sum().backward()

    assert x.grad.tolist() == [[0, 1, 0, 1]]


def test_the_indices_of_topk_gather_whole_entries():
    """The two tokens of the largest first value, as a router picks them."""
    layers = """
        - {select: {index: 0, dim: 2}, from: tokens}
        - {topk: 2, name: best}
        - {gather: {}, from: [tokens, best.indices]}
    """
    graph = network_of("{tokens: [5, 3]}", layers)
    x = torch.randn(4, 5, 3)
    expected = torch.stack([sample[sample[:, 0].argsort(descending=True)[:2]] for sample in x])

    assert torch.equal(build(graph)(x), expected)
    assert graph.by_name["best.indices"].shape.dtype == "int"


@pytest.mark.parametrize(
    ("kind", "options", "inputs", "message"),
    [
        ("topk", {"k": 5}, [Shape((4,))], "topk keeps k = 5 of the 4 values on axis 1 of (4,)"),
        (
            "topk",
            {"k": 1, "dim": 2},
            [Shape((4,))],
            "topk has dim = 2, and (4,) has only axis 1: the batch is axis 0",
        ),
        (
            "gather",
            {},
            [Shape((4, 3)), Shape((2,))],
            "gather picks by numbers, and (2,) holds values of dtype float",
        ),
        (
            "gather",
            {},
            [Shape((4, 3)), Shape((2, 2), "int")],
            "gather picks from axis 1 of (4, 3) by (2, 2), whose other axes differ",
        ),
        ("divide", {}, [Shape((4,)), Shape((3,))], "divide joins (4,) with (3,): features 4 and 3 differ"),
        (
            "normalize",
            {"dim": 3},
            [Shape((4, 2))],
            "normalize has dim = 3, and the axes of (4, 2) are 1 to 2: the batch is axis 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kind, options, inputs, message):
    assert refusal(kind, options, inputs)[0] == message
