"""The filters of the first layers of a trained network, which see the input itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..graph import Graph, LayerNode
from ..runs.folder import RunFolder
from ..training.checkpoints import checkpoint
from .evaluate import weights_of
from .inside import NothingToShowError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

AS_IT_LIES = ("flatten", "reshape")
"""Layers without weights behind which a value of `linear` is still a pixel of the input."""


@dataclass(frozen=True)
class Filters:
    """Filters of a layer (n, channels, height, width), as they are multiplied with the input."""

    layer: str
    values: Array = field(repr=False)


def first_filters(run: RunFolder, name: str = "final") -> list[Filters]:
    """Return the filters of each layer that sees pictures of one or three channels: kernels of a convolution, and
    the weights of `linear` behind `flatten` as pictures of the input. Empty where there is none.

    Raises:
        DlxError: the run has no such checkpoint.
    """
    weights_of(run, name)
    found = []
    networks = checkpoint.restore_all(run.dir, name)
    for each, (network, graph) in networks.items():
        for node in graph.nodes:
            if (size := _sees(graph, node)) is None:
                continue
            module: Any = network.get_submodule(node.home.replace("/", "."))
            weight = getattr(module, "weight", None)
            if weight is None:
                continue
            values = weight.detach().float().cpu().numpy()
            if node.kind == "linear" and values.ndim == 2:
                values = values.reshape(len(values), *size)
            if values.ndim == 4 and values.shape[1] in (1, 3):
                found.append(Filters(node.name if len(networks) == 1 else f"{each}/{node.name}", values))
    return found


def _sees(graph: Graph, node: LayerNode) -> tuple[int, ...] | None:
    """Return the size (channels, height, width) of the picture that a layer sees as it is; None for other layers."""
    source = node.inputs[0] if len(node.inputs) == 1 else ""
    passed = []
    while source in graph.by_name:
        before = graph.by_name[source]
        if before.params or len(before.inputs) != 1:
            return None
        passed.append(before.kind)
        source = before.inputs[0]
    size = tuple(graph.inputs[source]) if source in graph.inputs else ()
    if len(size) != 3 or not node.params or size[0] not in (1, 3):
        return None
    if node.kind == "linear":
        return size if passed and all(kind in AS_IT_LIES for kind in passed) else None
    return size if node.kind.startswith("conv") else None


def none_of(run: RunFolder) -> NothingToShowError:
    """Return the error of a run without such a layer."""
    message = f"{run.key} has no layer of filters that can be shown: none sees pictures of one or three channels"
    return NothingToShowError(message, hint="Filters are those of a first `conv`, or of a `linear` behind `flatten`.")
