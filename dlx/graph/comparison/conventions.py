"""Counting conventions of other tools, one table for each tool. All figures are of one sample, forward.

Each was compared with the tool itself, of the version that `checked` names; `tests/graph/test_conventions.py` holds
the figures, with their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from ...layers.resample import Upsample
from ..graph import LayerNode

Count = Callable[[LayerNode], int]
Remark = Callable[[Sequence[LayerNode]], str]
"""A function that returns a sentence about a network, or an empty text."""


@dataclass(frozen=True)
class Term:
    """A difference between a tool's count and dlx's, of one node; negative where dlx counts more."""

    label: str
    count: Count


@dataclass(frozen=True)
class ToolFigure:
    """One number of a tool: `ours` is dlx's count of a node, and `word` is dlx's name for it."""

    of: Literal["params", "macs", "memory"]
    word: str
    ours: Count
    theirs: str
    """The tool's name for it."""
    format: Callable[[int], str]
    """Formats the number as the tool prints it."""
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Convention:
    """The counting convention of one tool.

    `knows` are the kinds of layers whose count was compared with the tool's; None where its rule covers all kinds.
    """

    tool: str
    checked: str
    figures: tuple[ToolFigure, ...]
    knows: frozenset[str] | None
    remarks: tuple[Remark, ...] = ()


CONVS = frozenset({"conv", "depthwise_conv", "pointwise_conv"})
NORMS = frozenset({"layer_norm", "group_norm", "instance_norm"})
"""Norms whose statistics do not depend on the batch."""
NO_PRODUCT = frozenset({"prelu", "swish", "scale", "parameter", "weighted_add", "embedding"})
"""Layers with weights, but without a matrix product."""
RECURRENT = frozenset({"rnn", "gru", "lstm"})
PRODUCTS = CONVS | {"conv_transpose", "linear"}


def _params(node: LayerNode) -> int:
    return node.params


def _macs(node: LayerNode) -> int:
    return node.plan.macs


def _output(node: LayerNode) -> int:
    """Return the number of values of the output; 0 for a view of the input."""
    return 0 if node.plan.view else node.shape.count


def _output_bytes(node: LayerNode) -> int:
    return node.activation_bytes


def _weight(node: LayerNode, name: str) -> int:
    """Return the number of values of one weight in the node's own module; a tied weight is not in it."""
    return prod(node.plan.weights[name]) if name in node.plan.weights else 0


def _positions(node: LayerNode) -> int:
    return prod(node.shape.size)


def _moving_statistics(node: LayerNode) -> int:
    """Return the number of running means and variances; the counter of batches is torch's alone."""
    shapes = [shape for name, shape in node.plan.buffers.items() if name in {"running_mean", "running_var"}]
    return sum(map(prod, shapes)) if node.kind == "batch_norm" and not node.owner else 0


def _whole(count: int) -> str:
    return f"{count:,}"


def _auto(count: int) -> str:
    """Format with torchinfo's own choice of M, G or T."""
    unit, size = ("T", 1e12) if count >= 1e12 else ("G", 1e9) if count >= 1e9 else ("M", 1e6)
    return f"{count / size:,.2f} {unit}"


# torchvision: its weights' metadata. `_ops` is in GFLOPS and counts a multiply-add as one: the MACs of convolutions,
# linear layers and matrix products, which is what dlx counts.
TORCHVISION = Convention(
    tool="torchvision",
    checked="torchvision 0.28.0, the `num_params` and `_ops` of its weights",
    figures=(
        ToolFigure("params", "parameters", _params, "num_params", _whole),
        ToolFigure("macs", "MACs", _macs, "GFLOPS", lambda n: f"{n / 1e9:.3f} GFLOPS"),
    ),
    knows=None,
)


# Keras: `model.summary()`. Total = trainable + not trainable, and moving statistics are weights that are not
# trainable. It has no figure for the work of a network.
def _no_work(_: Sequence[LayerNode]) -> str:
    return "Keras counts no multiply-adds."


def _without_bias(nodes: Sequence[LayerNode]) -> str:
    """Remark on convolutions without bias, which keras.applications may have with one: that is another network."""
    bare = [n for n in nodes if n.kind in CONVS and not n.owner and "bias" not in n.plan.weights]
    if not bare:
        return ""
    more = sum(n.shape.channels for n in bare)
    total = sum(n.params + _moving_statistics(n) for n in nodes) + more
    stand = "convolution stands" if len(bare) == 1 else "convolutions stand"
    return (
        f"{len(bare):,} {stand} without a bias here. Keras adds one unless told otherwise, as in its ResNets but not "
        f"in its DenseNets: another network, of {more:,} parameters more, {total:,} in all."
    )


def _one_bias(nodes: Sequence[LayerNode]) -> str:
    """Remark on biases: one per sum in Keras' LSTM and SimpleRNN, two in its GRU and in all of torch's."""
    own = [n for n in nodes if n.kind in RECURRENT and not n.owner]
    twice = [n for n in own if n.kind != "gru" and any(name.startswith("bias_hh") for name in n.plan.weights)]
    once = [n for n in own if n.kind == "gru" and any(name.startswith("bias_hh") for name in n.plan.buffers)]
    more = sum(prod(s) for n in twice for name, s in n.plan.weights.items() if name.startswith("bias_hh"))
    if once:
        return "Keras' GRU has two biases a sum (reset_after), as torch's: `bias: one` is another network."
    if not more:
        return ""
    return (
        f"Keras' LSTM and SimpleRNN have one bias a sum, where torch has two: {more:,} parameters fewer. `bias: one` "
        "is that network."
    )


KERAS = Convention(
    tool="keras",
    checked="Keras 3.15.1, `count_params()` of keras.applications and of single layers",
    figures=(
        ToolFigure(
            "params",
            "parameters",
            _params,
            "Total params",
            _whole,
            (Term("moving mean and variance of batch norm", _moving_statistics),),
        ),
    ),
    knows=PRODUCTS | NORMS - {"instance_norm"} | {"batch_norm", "rms_norm", "embedding"} | RECURRENT,
    remarks=(_no_work, _without_bias, _one_bias),
)


# timm: the tables of its results, made with fvcore. fvcore counts a multiply-add as one, and beside products norms,
# average pooling to a size and upsampling, of images alone; its activations are the outputs of products.
def _norm_work(node: LayerNode) -> int:
    """Return fvcore's count: 1 or 2 per value with running statistics (a scale and a shift), else 4 or 5."""
    affine = bool(node.plan.weights)
    if node.kind == "batch_norm" and node.plan.buffers:
        return node.shape.count * (2 if affine else 1)
    return node.shape.count * (5 if affine else 4)


def _batch_norm_work(node: LayerNode) -> int:
    return _norm_work(node) if node.kind == "batch_norm" else 0


def _other_norm_work(node: LayerNode) -> int:
    return _norm_work(node) if node.kind in NORMS else 0


def _pooling_work(node: LayerNode) -> int:
    """Return the count of adaptive average pooling, with which timm pools to one position as well."""
    pools = node.kind in {"adaptive_avg_pool", "global_avg_pool"} and len(node.arriving[0]) == 3
    return node.arriving[0].count if pools else 0


def _upsampling_work(node: LayerNode) -> int:
    if node.kind != "upsample" or len(node.shape) != 3:
        return 0
    assert isinstance(node.layer, Upsample)
    return {"nearest": 1, "bilinear": 4}.get(node.layer.torch_mode(node.arriving[0]), 0) * node.shape.count


def _no_recurrent_work(node: LayerNode) -> int:
    return -_macs(node) if node.kind in RECURRENT else 0


def _not_of_products(node: LayerNode) -> int:
    return 0 if node.kind in PRODUCTS | {"matmul"} else -_output(node)


TIMM = Convention(
    tool="timm",
    checked="timm 1.0.31 and fvcore 0.1.5, which its benchmark counts with",
    figures=(
        ToolFigure("params", "parameters", _params, "Params (M)", lambda n: f"{n / 1e6:.2f} M"),
        ToolFigure(
            "macs",
            "MACs",
            _macs,
            "GMACs",
            lambda n: f"{n / 1e9:.2f} GMACs",
            (
                Term("batch norm: 2 a value, 1 without scale and shift", _batch_norm_work),
                Term("norms without running statistics: 5 a value, 4 without scale and shift", _other_norm_work),
                Term("average pooling to a size: 1 a value that comes in", _pooling_work),
                Term("upsampling: 1 a value of the output, bilinear 4", _upsampling_work),
                Term("recurrent layers, which fvcore does not know: nothing", _no_recurrent_work),
            ),
        ),
        ToolFigure(
            "memory",
            "values of activations",
            _output,
            "Activations (M)",
            lambda n: f"{n / 1e6:.2f} M",
            (Term("outputs of layers that are no matrix products", _not_of_products),),
        ),
    ),
    knows=PRODUCTS | NORMS | NO_PRODUCT | {"batch_norm", "batch_renorm", "rms_norm", "matmul"} | RECURRENT,
)


# darknet: what it prints of each layer, summed: two operations a multiply-add of convolutions and connected layers.
# Its weights files: 4 bytes a value after a header of 20. The later darknet of AlexeyAB also counts pooling and
# shortcuts, which is not done here.
def _only_images(nodes: Sequence[LayerNode]) -> str:
    others = any(n.kind in CONVS and len(n.shape) != 3 for n in nodes)
    return (
        "darknet has convolutions of images alone; those of other ranks are counted by the same rule."
        if others
        else ""
    )


DARKNET = Convention(
    tool="darknet",
    checked="the operations and the sizes of files published for darknet's networks, pjreddie.com/darknet/imagenet",
    figures=(
        ToolFigure(
            "params",
            "parameters",
            _params,
            "values in the .weights file",
            lambda n: f"{4 * n + 20:,} bytes with its header of 20",
            (Term("rolling mean and variance of batch norm", _moving_statistics),),
        ),
        ToolFigure(
            "macs",
            "MACs",
            _macs,
            "BFLOPs",
            lambda n: f"{n / 1e9:.3f} BFLOPs",
            (Term("the additions: two operations a MAC", _macs),),
        ),
    ),
    knows=CONVS | {"linear", "batch_norm"},
    remarks=(_only_images,),
)


# torchinfo: `summary(model, input_size=(1, ...))`. It multiplies all weights of a convolution, the bias too, by the
# output positions; the weights of any other layer it counts once, however often they run. Memory: outputs of layers
# with weights, twice.
def _conv_biases(node: LayerNode) -> int:
    return _weight(node, "bias") * _positions(node) if node.kind in CONVS | {"conv_transpose"} else 0


def _transposed(node: LayerNode) -> int:
    return _weight(node, "weight") * _positions(node) - _macs(node) if node.kind == "conv_transpose" else 0


def _linear_biases(node: LayerNode) -> int:
    return _weight(node, "bias") if node.kind == "linear" else 0


def _linear_places(node: LayerNode) -> int:
    return _weight(node, "weight") - _macs(node) if node.kind == "linear" else 0


def _weights_once(node: LayerNode) -> int:
    return 0 if node.kind in PRODUCTS else _weight(node, "weight") + _weight(node, "bias")


def _without_weights(node: LayerNode) -> int:
    return -_macs(node) if node.kind in {"matmul", "scaled_dot_product_attention"} else 0


def _recurrent_biases(node: LayerNode) -> int:
    """Return torchinfo's count beyond dlx's: all weights and biases at each step, where dlx counts the products."""
    if node.kind not in RECURRENT:
        return 0
    return node.arriving[0][0] * node.plan.params - _macs(node)


def _held_twice(nodes: Sequence[LayerNode]) -> str:
    """Remark on tied weights, which torchinfo counts in every module that has them."""
    tied = [node for node in nodes if node.tied]
    if not tied:
        return ""
    names = ", ".join(f"`{node.name}`" for node in tied)
    runs = "runs the weight of another layer" if len(tied) == 1 else "run weights of other layers"
    return (
        f"{names} {runs} and {'has' if len(tied) == 1 else 'have'} none here. A model in torch that ties weights has "
        "one parameter in two modules, and torchinfo counts it in each of them: more parameters and mult-adds."
    )


def _no_params(node: LayerNode) -> int:
    return 0 if node.plan.weights else -_output_bytes(node)


def _with_params(node: LayerNode) -> int:
    return 2 * node.shape.bytes - _output_bytes(node) if node.plan.weights else 0


TORCHINFO = Convention(
    tool="torchinfo",
    checked="torchinfo 1.8.0, on every shipped network and every layer's example",
    figures=(
        ToolFigure("params", "parameters", _params, "Total params", _whole),
        ToolFigure(
            "macs",
            "MACs",
            _macs,
            "Total mult-adds",
            _auto,
            (
                Term("biases of convolutions, at each position of the output", _conv_biases),
                Term("transposed convolutions, by positions of the output", _transposed),
                Term("biases of linear layers, once", _linear_biases),
                Term(
                    "linear layers that run at many places, or on another's weight: own weights once", _linear_places
                ),
                Term("weights and biases of recurrent layers at each step", _recurrent_biases),
                Term("weights of other layers, once", _weights_once),
                Term("matrix products without weights of their own", _without_weights),
            ),
        ),
        ToolFigure(
            "memory",
            "bytes of activations",
            _output_bytes,
            "Forward/backward pass size (MB)",
            lambda n: f"{n / 1e6:.2f} MB",
            (
                Term("outputs of layers without weights", _no_params),
                Term("outputs of layers with weights, once more for gradients", _with_params),
            ),
        ),
    ),
    knows=PRODUCTS
    | NORMS
    | NO_PRODUCT
    | {"batch_norm", "batch_renorm", "book_batch_norm", "ghost_batch_norm", "rms_norm"}
    | {"matmul", "scaled_dot_product_attention"}
    | RECURRENT,
    remarks=(_held_twice,),
)

CONVENTIONS = {each.tool: each for each in (TORCHVISION, KERAS, TIMM, DARKNET, TORCHINFO)}
