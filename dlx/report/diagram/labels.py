"""What stands in the box of a layer, and the family that gives it its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...graph import LayerNode
from ...shapes import Shape

FAMILIES: Final = (
    *("conv", "linear", "pool", "norm", "activation", "dropout", "recurrent", "attention", "embedding", "merge"),
    *("reshape", "other"),
)
"""Families of layers that are told apart by their colour."""
MODULES: Final = {
    **dict.fromkeys(("resample", "pad"), "pool"),
    **dict.fromkeys(("slice", "reduce"), "reshape"),
    **dict.fromkeys(("position", "parameter", "time"), "embedding"),
    **dict.fromkeys(("graph",), "conv"),
    **dict.fromkeys(("gate", "experts"), "linear"),
    "noise": "dropout",
}
"""The families of modules of `dlx.layers` that are not called like theirs, by the first word of their names."""
NOUNS: Final = {"num_heads": "heads", "groups": "groups", "num_layers": "layers", "dilation": "dilation"}
"""Options that are told with a noun, where they are no defaults."""


def family(node: LayerNode) -> str:
    """Return the family of a layer, "other" for those of plugins."""
    package, _, module = type(node.layer).__module__.rpartition(".")
    word = module.partition("_")[0]
    found = MODULES.get(word, word) if package == "dlx.layers" else "other"
    return found if found in FAMILIES else "other"


def keeps_shape(node: LayerNode) -> bool:
    """Whether a layer changes values alone, so that its box hangs below the one before it."""
    return family(node) in ("norm", "activation", "dropout")


def title(node: LayerNode) -> str:
    """Return a layer in few words: `3x3 conv, 64, /2`, `linear 10`, `multihead attention, 12 heads, causal`.

    One that runs with the weights of another is told with that: `linear 10, weights of encoder/head`; one with
    its weight alone (`tie`): `linear 50,257, weight of meanings`.
    """
    whose = [f"weights of {node.owner}"] if node.owner else [f"weight of {node.tied}"] if node.tied else []
    return ", ".join([_own_title(node), *whose])


def _own_title(node: LayerNode) -> str:
    options, kind = node.layer.options(), node.kind.replace("_", " ")
    if node.kind == "parameter":
        return f"parameter {by(node.shape)}"
    if "kernel_size" in options:
        return _windowed(node, kind, options)
    required = [
        value
        for name, value in options.items()
        if type(node.layer).model_fields[name].is_required() and name not in NOUNS and _is_short(value)
    ]
    words = [f"{kind} {', '.join(_text(value) for value in required)}".strip()]
    return ", ".join([*words, *_nouns(node, options)])


def _windowed(node: LayerNode, kind: str, options: dict[str, Any]) -> str:
    """Return a convolution or a pool as He et al. 2016 write them (figure 3): `3x3 conv, 64, /2`."""
    rank = max(1, len(node.arriving[0]) - 1) if node.arriving else 1
    words = [f"{_extent(options['kernel_size'], rank)} {kind}"]
    if "out_channels" in options:
        words.append(_text(options["out_channels"]))
    stride = options["kernel_size"] if "stride" in options and options["stride"] is None else options.get("stride", 1)
    if stride not in (1, (1,) * rank):
        words.append(f"/{_text(stride) if isinstance(stride, int) else by(stride)}")
    return ", ".join([*words, *_nouns(node, options)])


def _nouns(node: LayerNode, options: dict[str, Any]) -> list[str]:
    fields = type(node.layer).model_fields
    words = [
        f"{_text(options[name])} {noun}"
        for name, noun in NOUNS.items()
        if name in options and options[name] is not None and options[name] != fields[name].default
    ]
    ways = {"is_causal": "causal", "bidirectional": "bidirectional"}
    return [*words, *(word for name, word in ways.items() if options.get(name) is True)]


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 12)


def _extent(value: Any, rank: int) -> str:
    return by((value,) * rank if isinstance(value, int) else value)


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return by(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


def by(sizes: Sequence[Any]) -> str:
    """Write sizes as `3x3`, with the sign of a product."""
    return "\u00d7".join(f"{size:,}" if isinstance(size, int) else str(size) for size in sizes)


def shape(value: Shape) -> str:
    """Write the shape of a sample; a single value is `1`."""
    return by(value) or "1"


def short(count: int) -> str:
    """Write a count in three figures: `7.09 M`; as it is below 10,000."""
    if count < 10_000:
        return f"{count:,}"
    for unit, size in (("k", 10**3), ("M", 10**6), ("G", 10**9)):
        if count < 999.5 * size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 10**12:.3g} T"
