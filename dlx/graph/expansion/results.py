"""Further results of a layer, taken as `memory.state` in `from` and `outputs`: nodes of their own."""

from __future__ import annotations

from ...errors import Mark
from ...layers import Plan
from ...layers.base import AxisMap
from ...spec.syntax.read import Node
from ..graph import LayerNode, Wire
from ..receptive_field import propagation
from . import data_facts
from .place import Placer
from .scope import Arriving

OF_TEXTS = {
    "padding": "padding_mask",
    "length": "text_length",
    "document": "text_document",
    "position": "text_position",
}
"""The layer that gives each result of an input of text."""


def result_of(placer: Placer, base: Wire, key: str, mark: Mark) -> Wire | tuple[str, str]:
    """Return the result `key` of the layer that makes `base`, as a node; a message and hint where it has none.

    The node is made once, and stands behind the layers above the place that asks first.
    """
    if base.shape is None:
        return Wire("", None)
    node = placer.by_name.get(base.name)
    if node is None:
        return _of_input(placer, base, key, mark)
    results = node.layer.results(*node.arriving) if not node.result else {}
    if key not in results:
        known = " and ".join(f"`{name}`" for name in results)
        has = f"gives {known} beside its output, and no `{key}`" if results else f"has no result `{key}`"
        hint = "" if results else "Recurrent layers have a `state`, and those of kind `lstm` a `cell`."
        return f"`{base.name}`{node.mark.in_brackets} is of kind `{node.kind}`, which {has}", hint
    full = f"{node.name}.{key}"
    if full not in placer.results:
        shape = results[key]
        plan = Plan(shape, window=AxisMap((None,) * len(shape)), saved=(), passes_gradient=True)
        wire = propagation.propagate([base], plan, full, placer.channel_axes)
        made = LayerNode(
            full,
            f"{node.kind}.{key}",
            node.layer,
            (node.name,),
            (node.shape,),
            plan,
            wire.symbolic_fields,
            node.mark,
            result=key,
        )
        placer.nodes.append(made)
        placer.by_name[full], placer.marks[full], placer.results[full] = made, node.mark, wire
    return placer.results[full]


def _of_input(placer: Placer, base: Wire, key: str, mark: Mark) -> Wire | tuple[str, str]:
    """Return the result `key` of an input: where a text is padding, or its length; a node, made once."""
    facts = placer.globals.get(data_facts.NAME)
    texts = facts.texts if isinstance(facts, data_facts.DataFacts) else {}
    *most, last = (f"`{name}`" for name in OF_TEXTS)
    listed = f"{', '.join(most)} and {last}"
    if base.name not in texts:
        hint = "Recurrent layers have a `state`" + (f", and texts {listed}." if texts else ".")
        return f"`{base.name}` is an input, and has no `{key}`", hint
    if key not in OF_TEXTS:
        return f"`{base.name}` is a text, which gives {listed}, and no `{key}`", ""
    full = f"{base.name}.{key}"
    if full not in placer.results:
        placer.results[full] = placer.place(OF_TEXTS[key], Node({}, mark), mark, full, Arriving((base,)))
    return placer.results[full]
