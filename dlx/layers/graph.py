"""Layers of graphs: nodes with features, and a dense adjacency matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .base import OWN, AxisMap, Example, InputPaths, Layer, Plan, SavedIf, floats

if TYPE_CHECKING:
    from torch.nn import Module

FLOAT = 4
ALL = AxisMap((None, None))
"""Each value depends on all nodes and all of their features."""


class GraphConv(Layer):
    """Sum the features of each node's neighbours, weighed by degrees, through one matrix: A' X W^T + b.

    A' is D^-1/2 (A + I) D^-1/2, with D the row sums of A + I; by `normalize: mean` it is D^-1 (A + I), by `none` it
    is A + I. Graphs of several sizes are padded to one, and the mask is 1 or true for a node that is there: the
    others have no neighbours, and give zeros.

    Shapes: nodes (V, F), adjacency (V, V) and, at will, a mask (V,), in this order -> (V, out_features). Row i of the
        adjacency holds what node i receives from the others, as floats, or as true and false.
    Cost: F * out_features weights and out_features biases; V * F * out_features + V * V * out_features MACs, those of
        padded nodes too.
    Errors: nodes that are not of floats and two axes; an adjacency or a mask of another size, or of integers.
    Source: Kipf & Welling 2016, arXiv:1609.02907, equation 2; Prince 2023, Understanding Deep Learning, sections
        13.4.2 and 13.8. torch: none; GCNConv of PyTorch Geometric has this weight, and these names.
    """

    kind: ClassVar[str] = "graph_conv"
    out_features: PositiveInt = Field(description="features of a node of the output")
    normalize: Literal["symmetric", "mean", "none"] = Field(
        "symmetric", description="by the degrees of both nodes, by that of the receiving one, or not at all"
    )
    add_self_loops: bool = Field(True, description="let a node receive from itself: A + I; false: A alone")
    bias: bool = Field(True, description="add a learned value to each feature")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (2, 3)
    input_names: ClassVar[tuple[str, ...]] = ("input", "adjacency", "mask")
    hiding: ClassVar[Mapping[str, bool]] = {"mask": False}
    example: ClassVar[Example] = Example(
        {"out_features": 6},
        [(5, 4), (5, 5), (5,)],
        shape=(5, 6),
        params=4 * 6 + 6,
        macs=5 * 4 * 6 + 5 * 5 * 6,
    )

    def plan(self, *xs: Shape) -> Plan:
        nodes, features = checked("graph_conv", xs)
        shape = Shape((nodes, self.out_features))
        weights = {"weight": (self.out_features, features)} | ({"bias": (self.out_features,)} if self.bias else {})
        return Plan(
            shape=shape,
            weights=weights,
            macs=nodes * features * self.out_features + nodes * nodes * self.out_features,
            window=InputPaths(((0, ALL), (1, ALL))),
            no_gradient=no_gradient(xs),
            saved=(),
            saved_if=tuple(self._held(xs, shape)),
        )

    def _held(self, xs: tuple[Shape, ...], shape: Shape) -> Iterator[SavedIf]:
        """Yield what torch saves: the normalised adjacency, the nodes, and what an adjacency's gradient needs."""
        nodes, matrix, masked = xs[0][0], xs[1].count, len(xs) > 2
        as_passed = not (self.add_self_loops or masked) and xs[1].dtype == "float"
        if masked:
            yield SavedIf((0,), more=nodes)  # which are there, as truth values
            yield SavedIf((0, 1, OWN), more=nodes)
            yield SavedIf((1,), more=matrix)
        own = SavedIf((OWN,), more=xs[0].bytes) if masked else SavedIf((OWN,), input=0)
        summed = SavedIf((1,), input=1) if as_passed else SavedIf((1,), more=FLOAT * matrix)
        yield own
        yield SavedIf((1,), more=FLOAT * shape.count)
        if self.normalize == "none":
            yield SavedIf((0, OWN), input=1) if as_passed else SavedIf((0, OWN), more=FLOAT * matrix)
            return
        yield SavedIf((0, OWN), more=FLOAT * matrix)
        yield summed
        if self.normalize == "mean":
            yield SavedIf((1,), more=(FLOAT + 1) * nodes)
        else:
            yield SavedIf((1,), more=FLOAT * matrix + (3 * FLOAT + 1) * nodes)

    def module(self, *xs: Shape) -> Module:
        from ..modules.graph import GraphConv as Built

        return Built(xs[0][1], self.out_features, self.normalize, self.add_self_loops, self.bias)


class GraphAttention(Layer):
    """Average the features of each node's neighbours by learned attention, in several heads.

    Node i gives its neighbour j the weight softmax over j of leaky_relu(a_dst . W x_i + a_src . W x_j), for each
    head. An edge is where the adjacency is not 0. A node without neighbours, and one that the mask leaves out, gives
    the bias alone, and zeros.

    Shapes: nodes (V, F), adjacency (V, V) and, at will, a mask (V,), in this order -> (V, heads * out_features), or
        without `concat` their mean, (V, out_features).
    Cost: with H heads of D = out_features: H * D * F weights, 2 * H * D for a_src and a_dst, and a bias for each
        feature of the output; V * F * H * D + V * V * H * D MACs, those of no edge too; the products with a_src and
        a_dst, 2 * V * H * D, are elementwise and not counted.
    Errors: nodes that are not of floats and two axes; an adjacency or a mask of another size, or of integers.
    Source: Velickovic et al. 2017, arXiv:1710.10903, section 2.1; Prince 2023, Understanding Deep Learning, section
        13.8.6. torch: none; GATConv of PyTorch Geometric has these names.
    """

    kind: ClassVar[str] = "graph_attention"
    out_features: PositiveInt = Field(description="features of a node in one head")
    heads: PositiveInt = Field(1, description="heads, each with weights of its own")
    concat: bool = Field(True, description="put the heads side by side; false: their mean")
    negative_slope: float = Field(0.2, description="slope of the leaky ReLU of the scores, below 0")
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a weight of a neighbour is dropped")
    add_self_loops: bool = Field(True, description="let a node attend to itself too")
    bias: bool = Field(True, description="add a learned value to each feature")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (2, 3)
    input_names: ClassVar[tuple[str, ...]] = ("input", "adjacency", "mask")
    hiding: ClassVar[Mapping[str, bool]] = {"mask": False}
    example: ClassVar[Example] = Example(
        {"out_features": 3, "heads": 2},
        [(5, 4), (5, 5), (5,)],
        shape=(5, 6),
        params=4 * 6 + 2 * 6 + 6,
        macs=5 * 4 * 6 + 5 * 5 * 6,
    )

    def plan(self, *xs: Shape) -> Plan:
        nodes, features = checked("graph_attention", xs)
        width = self.heads * self.out_features
        shape = Shape((nodes, width if self.concat else self.out_features))
        each = (self.heads, self.out_features)
        return Plan(
            shape=shape,
            weights={"weight": (width, features), "att_src": each, "att_dst": each}
            | ({"bias": (shape[1],)} if self.bias else {}),
            macs=width * nodes * (features + nodes),
            window=InputPaths(((0, ALL),)),
            no_gradient=tuple(range(1, len(xs))),
            saved=(),
            saved_bytes=FLOAT * nodes * width + 3 * FLOAT * self.heads * nodes**2 + nodes**2,
            saved_if=(
                *((SavedIf((0,), more=nodes), SavedIf((0, OWN), more=nodes)) if len(xs) > 2 else ()),
                SavedIf((OWN,), more=xs[0].bytes) if len(xs) > 2 else SavedIf((OWN,), input=0),
            ),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.graph import GraphAttention as Built

        return Built(xs[0][1], **self.options())


class MaskedPool(Layer):
    """Mean, sum or maximum over the tokens, or the nodes of a graph, that a mask leaves in.

    Shapes: tokens (T, D) and a mask (T,), in this order -> (D,). The mask is 1 or true for a token that is there;
        where none is, the result is 0.
    Cost: no MACs, as torch's counter has it.
    Errors: tokens that are not of floats and two axes; a mask of another length, or of integers.
    Source: Prince 2023, Understanding Deep Learning, section 13.5 (the mean over the nodes). torch: none.
    """

    kind: ClassVar[str] = "masked_pool"
    reduce: Literal["mean", "sum", "amax"] = Field("mean", description="how they are joined; amax: the largest")

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    input_names: ClassVar[tuple[str, ...]] = ("input", "mask")
    hiding: ClassVar[Mapping[str, bool]] = {"mask": False}
    example: ClassVar[Example] = Example({}, [(5, 4), (5,)], shape=(4,))

    def plan(self, *xs: Shape) -> Plan:
        tokens = xs[0]
        floats(tokens, "masked_pool")
        if len(tokens) != 2:
            raise ShapeError(
                "masked_pool goes over tokens of (T, D), and {0} is not of two axes",
                hint="`- transpose` makes tokens of (D, T); an image is first flattened with `start_dim: 2`.",
                inputs=xs,
            )
        check_mask("masked_pool", xs, 1)
        return Plan(
            shape=Shape((tokens[1],)),
            window=InputPaths(((0, AxisMap((1,))),)),
            no_gradient=(1,),
            saved=(),
            saved_bytes=self._held(tokens),
        )

    def _held(self, tokens: Shape) -> int:
        """Return the bytes that torch saves: which are there, their number, or all values to find the largest."""
        more = {"sum": 0, "mean": 8, "amax": tokens.bytes + FLOAT * tokens[1] + 1}
        return tokens[0] + more[self.reduce]

    def module(self, *_: Shape) -> Module:
        from ..modules.graph import MaskedPool as Built

        return Built(self.reduce)


def checked(kind: str, xs: tuple[Shape, ...]) -> tuple[int, int]:
    """Return the number of nodes and of their features. ShapeError where the inputs are not those of a graph."""
    nodes, adjacency = xs[:2]
    floats(nodes, kind)
    if len(nodes) != 2:
        raise ShapeError(
            f"{kind} takes nodes of (V, F), and {{0}} is not of two axes",
            hint="Give nodes, adjacency and mask in this order: `from: [nodes, adjacency, mask]`.",
            inputs=xs,
        )
    if tuple(adjacency) != (nodes[0], nodes[0]) or adjacency.dtype == "int":
        holds = f" of dtype {adjacency.dtype}" if adjacency.dtype == "int" else ""
        raise ShapeError(
            f"{kind} wants an adjacency of {Shape((nodes[0], nodes[0]))} floats or truth values for the nodes {{0}}, "
            f"and is given {{1}}{holds}",
            hint="Give nodes, adjacency and mask in this order; `- to_float` makes floats of integers.",
            inputs=xs,
        )
    if len(xs) > 2:
        check_mask(kind, xs, 2)
    return nodes[0], nodes[1]


def check_mask(kind: str, xs: tuple[Shape, ...], place: int) -> None:
    """Raise ShapeError for a mask that is not one float or truth value for each of the tokens."""
    mask = xs[place]
    if tuple(mask) != (xs[0][0],) or mask.dtype == "int":
        holds = f" of dtype {mask.dtype}" if mask.dtype == "int" else ""
        raise ShapeError(
            f"{kind} wants a mask of {Shape((xs[0][0],))} floats or truth values for {{0}}, and is given "
            f"{{{place}}}{holds}",
            hint="It is 1, or true, for each that is there; `- to_float` makes floats of integers.",
            inputs=xs,
        )


def no_gradient(xs: tuple[Shape, ...]) -> tuple[int, ...]:
    """Return the indices of the inputs that only say which nodes and edges there are."""
    return tuple(i for i, x in enumerate(xs) if i == 2 or x.dtype == "bool")
