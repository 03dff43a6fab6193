"""Weights that are held at zero throughout a training: their masks, and what keeps updates away from them.

Gradients are multiplied by the masks before they are clipped, as torch.nn.utils.prune has it: optimizers that move
each weight by its own gradient leave a zero where it is. After a step of another one the masks are applied again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import Problem, SpecError
from ..graph import Graphs
from ..graph.pruning import PrunedWeight, pruned_weights, total
from ..lazy import torch
from ..optim.fused import Direct
from ..spec import Experiment
from ..spec.sections.prune import PATH, Prune

if TYPE_CHECKING:
    from torch import Tensor, nn

DRAWS = 0x70727565_00000000
"""Sets the seed of random masks apart: by that of the training they would follow the first weights, draw by draw."""

Values = Mapping[str, "Tensor"]
"""Weights by their names in torch."""


class Pruning:
    """Masks of the weights of a training, 1 where a weight is trained and 0 where it stays zero."""

    def __init__(self, masks: Mapping[str, tuple[nn.Parameter, Tensor]] | None = None) -> None:
        """`masks` are by the name of the weight, each with the weight itself."""
        self.masks = dict(masks or {})

    def __bool__(self) -> bool:
        return bool(self.masks)

    def of(self, weights: Iterable[Tensor]) -> Callable[[], None]:
        """Return the function that masks the gradients of those of `weights` that are pruned."""
        known = {id(weight): mask for weight, mask in self.masks.values()}
        pairs = [(weight, known[id(weight)]) for weight in weights if id(weight) in known]

        def mask_gradients() -> None:
            for weight, mask in pairs:
                if weight.grad is not None:
                    weight.grad.mul_(mask)

        return mask_gradients

    def holding(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step of an optimizer after which pruned weights are zero, whatever it does with zero gradients."""
        if not self.masks or isinstance(step, Direct):  # torch's fused ones move each weight by its own gradient
            return step

        def held(*closure: Callable[[], Tensor]) -> Any:
            loss = step(*closure)
            self.apply()
            return loss

        return held

    def apply(self) -> None:
        """Set the pruned weights to zero."""
        with torch.no_grad():
            for weight, mask in self.masks.values():
                weight.masked_fill_(mask == 0, 0.0)

    def state(self) -> dict[str, Tensor]:
        """Return the masks as truth values."""
        return {name: mask != 0 for name, (_, mask) in self.masks.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned, in place: recorded steps hold the masks."""
        for name, (_, mask) in self.masks.items():
            mask.copy_(state[name])

    def emptied(self) -> list[str]:
        """Return the names of weights of which nothing is left."""
        return [name for name, (_, mask) in self.masks.items() if not bool(mask.any())]


def pruning_of(
    experiment: Experiment,
    graphs: Graphs,
    networks: Mapping[str, nn.Module],
    trained: Mapping[str, Values],
    seed: int,
) -> Pruning:
    """Return the masks for networks, and set what they hold to zero.

    Magnitudes are those of the `trained` weights by network, or else of the networks' own.
    """
    prune = experiment.prune
    if prune is None:
        return Pruning()
    found = {}
    for name, network in networks.items():
        scope = "" if graphs.is_one else f"{name}/"
        weights = pruned_weights(prune, graphs[name].nodes, scope)
        values = [_value(network, trained.get(name), one.parameter) for one in weights]
        for one, mask in zip(weights, masks_of(prune, weights, values, seed), strict=True):
            if one.pruned != 0:
                weight = network.get_parameter(one.parameter)
                found[f"{scope}{one.path}"] = weight, mask.to(weight)
    pruning = Pruning(found)
    pruning.apply()
    return pruning


def _value(network: nn.Module, trained: Values | None, name: str) -> Tensor:
    return network.get_parameter(name).detach() if trained is None else trained[name]


def values_of(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Return copies of all weights and buffers, by network and name."""
    return {name: {key: one.clone() for key, one in net.state_dict().items()} for name, net in networks.items()}


def masks_of(prune: Prune, weights: Sequence[PrunedWeight], values: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Return the masks that torch.nn.utils.prune makes of `values`, in their shapes.

    Random ones are drawn from a generator of their own.
    """
    if not values:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed ^ DRAWS)
        if prune.scope == "layer":
            return [_mask(prune, one, value) for one, value in zip(weights, values, strict=True)]
        whole = torch.cat([value.reshape(-1) for value in values])
        mask = _computed(_unstructured(prune, total(prune, weights)), whole)
        pieces = torch.split(mask, [value.numel() for value in values])
        return [piece.view_as(value) for piece, value in zip(pieces, values, strict=True)]


def _mask(prune: Prune, one: PrunedWeight, value: Tensor) -> Tensor:
    from torch.nn.utils.prune import LnStructured

    if prune.by != "filters":
        return _computed(_unstructured(prune, one.pruned or 0), value)
    axis = one.output_axis
    return _computed(LnStructured(round(prune.fraction * value.shape[axis]), 2, axis), value)


def _unstructured(prune: Prune, count: int) -> Any:
    from torch.nn.utils.prune import L1Unstructured, RandomUnstructured

    return (RandomUnstructured if prune.by == "random" else L1Unstructured)(count)


def _computed(method: Any, value: Tensor) -> Tensor:
    """Return the mask of one of torch's methods."""
    mask: Tensor = method.compute_mask(value, torch.ones_like(value))
    return mask


def checked_notes(experiment: Experiment, graphs: Graphs, pruning: Pruning) -> tuple[str, ...]:
    """Return the note of how much is pruned. SpecError where the magnitudes leave nothing of a weight."""
    prune, pruned = experiment.prune, sum(graph.pruned for graph in graphs.values())
    if prune is None:
        return ()
    if empty := pruning.emptied():
        names = ", ".join(f"`{name}`" for name in empty)
        nodes = ", ".join(name.rpartition("/")[0] for name in empty)
        message = f"`prune` leaves nothing of {names}, whose values are the smallest of all"
        hint = f"Take a smaller `fraction`, `scope: layer`, or `skip: [{nodes}]`."
        raise SpecError(Problem(message, hint, experiment.place(PATH, "fraction"), f"{PATH}.fraction"))
    begins = {None: "", "init": ", from their first values on", "redraw": ", drawn anew"}[prune.rewind]
    held = f"{pruned:,} of {graphs.params:,} parameters are held at zero, {graphs.remaining:,} remain"
    return (f"pruned: {held}{begins}",)
