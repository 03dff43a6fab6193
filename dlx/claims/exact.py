"""Claims on exact values of a network with known weights: outputs, losses, gradients, weights after updates.

All is computed in float64. A figure that depends on random weights or on random layers is no figure of the spec: each
claim is evaluated again with other random weights, and must come out the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isclose, isnan
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, listed
from ..graph import Graph, Graphs
from ..graph.expect import Receipt, judge
from ..lazy import torch
from ..shapes import bytes_text
from ..spec import Experiment
from ..spec.sections.expect import Claim
from ..spec.sections.networks import ONE
from ..training import initial_weights
from .evaluator import Evaluator
from .exact_quantities import QUANTITIES

if TYPE_CHECKING:
    from torch import fx

# Several: behind a ReLU the values of one other seed may agree by accident, as 0 and 0
RESAMPLE_SEEDS = (1, 2, 3)
"""Seeds of other random weights, with which a claim on exact values must come out the same."""


def receipts(claims: Sequence[Claim], experiment: Experiment, graph: Graph) -> Iterator[Receipt]:
    """Yield the receipt of each claim; a claim that cannot be evaluated fails alone."""
    from ..training import device

    # two networks at once in float64: 8 bytes a value each; the passes hold twice the float32 activations
    needed, free = 16 * (graph.params + graph.buffers) + 2 * graph.activation_bytes, device.free_memory()
    if needed > free:
        why = f"two draws of the network take {bytes_text(needed)}, and {bytes_text(free)} are free"
        yield from (Receipt(claim, "FAILS", None, why) for claim in claims)
        return
    evaluator = Evaluator(experiment, graph, _build(experiment, graph, 0))
    random_weights = _random_weights(evaluator.network, _build(experiment, graph, RESAMPLE_SEEDS[0]))
    for claim in claims:
        try:
            ours = _evaluate(evaluator, claim, random_weights)
        except ValueError as error:
            yield Receipt(claim, "FAILS", None, str(error))
        except DlxError as error:  # such as a loss that is not finite
            yield Receipt(claim, "FAILS", None, error.problems[0].message)
        except (IndexError, RuntimeError) as error:  # such as an index that an embedding has not
            why = f"torch cannot run it: {str(error).strip().splitlines()[0]}"
            yield Receipt(claim, "FAILS", None, why)
        else:
            yield judge(claim, ours)


def _build(experiment: Experiment, graph: Graph, seed: int) -> fx.GraphModule:
    """Build the network in float64 and eval mode; `seed` is for the weights that the spec does not set."""
    from ..network import build

    default = torch.get_default_dtype()
    # Before it is built: `double()` alone comes too late, for `values` would be rounded to float32 first
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = build(graph, experiment.init).double().eval()
            initial_weights.fill({ONE: made}, experiment, Graphs.of(graph))
            return made
    finally:
        torch.set_default_dtype(default)


def _random_weights(network: fx.GraphModule, other: fx.GraphModule) -> list[str]:
    """Return the names of weights and buffers that differ between networks of two seeds."""
    others = other.state_dict()
    return [name.replace(".", "/") for name, value in network.state_dict().items() if not value.equal(others[name])]


def _evaluate(evaluator: Evaluator, claim: Claim, random_weights: Sequence[str]) -> Any:
    """Return the figure of a claim. ValueError where it depends on random weights or layers."""
    function, figures = QUANTITIES[claim.quantity], claim.figures
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        ours = function(evaluator, figures)
        if not torch.get_rng_state().equal(before):
            _refuse_random_layers(evaluator, claim)
        for seed in RESAMPLE_SEEDS if random_weights else ():
            torch.manual_seed(0)
            # The same generator state as before: only the weights differ, not dropout masks
            resampled = replace(evaluator, network=_build(evaluator.experiment, evaluator.graph, seed))
            if not _agree(ours, function(resampled, figures)):
                ancestors = evaluator.ancestors(claim)
                names = [name for name in random_weights if name.rpartition("/")[0] in ancestors] or random_weights
                hint = "Set them with `values`, or by an `init` that draws nothing, such as `constant`."
                raise ValueError(f"it is one draw of many: nothing sets {listed(names, quote='')}. {hint}")
    return ours


def _refuse_random_layers(evaluator: Evaluator, claim: Claim) -> None:
    """Raise ValueError where a claim depends on a layer that draws random numbers in each pass.

    That the generator has moved is not enough: the layer may come after the node that the claim is about.
    """
    updates = claim.quantity == "weights_after"
    mode = "train" if updates else claim.figures.get("mode", "eval")
    ancestors, found = evaluator.ancestors(claim), []

    class Watcher(torch.fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            before = torch.get_rng_state()
            value = super().run_node(node)
            if not torch.get_rng_state().equal(before) and node.meta["node"] in ancestors:
                found.append(node.meta["node"])
            return value

    with torch.no_grad():
        Watcher(evaluator.in_mode(mode)).run(*evaluator.samples(claim.figures["at"]).inputs)
    if found or updates:
        draws = f"{listed(found, quote='')} draw{'' if len(found) > 1 else 's'}" if found else "the training draws"
        out = "Claim it in `mode: eval`, or leave out" if mode == "train" and not updates else "Leave out"
        raise ValueError(f"it is one draw of many: {draws} anew in each pass. {out} what draws.")


def _agree(ours: Any, other: Any) -> bool:
    """Whether two figures are equal up to rounding."""
    if isinstance(ours, dict):
        return all(_agree(value, other[name]) for name, value in ours.items())
    if isinstance(ours, list):
        return all(map(_agree, ours, other))
    return bool(ours == other) or isclose(ours, other, rel_tol=1e-9, abs_tol=1e-12) or (isnan(ours) and isnan(other))
