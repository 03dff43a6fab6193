"""Further results of a layer, taken as `memory.state` in `from` and `outputs`: nodes of their own."""

from __future__ import annotations

from ...errors import Mark
from ...layers import Plan
from ...layers.base import AxisMap
from ..graph import LayerNode, Wire
from ..receptive_field import propagation
from .place import Placer


def result_of(placer: Placer, base: Wire, key: str, mark: Mark) -> Wire | tuple[str, str]:
    """Return the result `key` of the layer that makes `base`, as a node; a message and hint where it has none.

    The node is made once, and stands behind the layers above the place that asks first.
    """
    if base.shape is None:
        return Wire("", None)
    node = placer.by_name.get(base.name)
    if node is None:
        return f"`{base.name}` is an input, and has no `{key}`", "Recurrent layers have a `state`."
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
        placer.by_name[full], placer.marks[full], placer.results[full] = made, mark, wire
    return placer.results[full]
