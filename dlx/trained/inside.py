"""What a trained network makes of one example: the values of its layers, and the weights of its attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..data.text.recorded import recorded_tokenizer
from ..errors import DlxError, plural
from ..graph import Graphs, LayerNode, trace_all
from ..lazy import torch
from ..objectives import Supervised
from ..runs.folder import RunFolder
from ..spec import load
from ..training import device
from . import pictures
from .evaluate import Loaded, input_record_of, job_of_run, part_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, fx

    from ..data.batch import Batch

    Array = npt.NDArray[Any]


class NothingToShowError(DlxError):
    """A network has nothing of what is looked at, such as attention."""


ATTENTION: Final = (
    "scaled_dot_product_attention",
    "multihead_attention",
    "relative_attention",
    "transformer_xl_attention",
)
"""Layers whose weights of queries on keys are looked at."""


@dataclass(frozen=True)
class Example:
    """An example of the data of a run.

    Attributes:
        place: `test 3`: its part, and its number there.
        picture: what it shows (height, width, 1 or 3), from 0 to 1, before preprocessing; None where it is none.
        tokens: its tokens as texts; empty where it is none.
    """

    place: str
    picture: Array | None = field(default=None, repr=False)
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inside:
    """What the layers of a run make of an example, by the names of the layers, `NETWORK/NODE` of several networks.

    Attributes:
        values: outputs without the axis of the batch.
        attention: weights (heads, T, S) of T queries on S keys, whose rows add up to 1.
        nodes: the layers themselves.
    """

    run: RunFolder
    example: Example
    nodes: Mapping[str, LayerNode] = field(repr=False)
    values: Mapping[str, Array] = field(default_factory=dict, repr=False)
    attention: Mapping[str, Array] = field(default_factory=dict, repr=False)


def inside(
    run: RunFolder, number: int = 0, part: str | None = None, name: str = "final", *, loaded: Loaded | None = None
) -> Inside:
    """Return what each layer of a run makes of an example of a part, and the weights of its attention.

    `part` is by default the test part, else the validation or training part; `name` the checkpoint. Networks that
    take what others make, such as a generator, are left out.

    Raises:
        DlxError: there is no such part, example or checkpoint, or the data has changed.
    """
    with device.threads(run.threads()), torch.inference_mode():
        one = loaded or job_of_run(run, name)
        chosen = part_of(one.job, part, run)
        batch = _example(one, run, chosen, number)
        graphs = trace_all(load(run.file("spec.yaml")).last_stage)
        nodes: dict[str, LayerNode] = {}
        values: dict[str, Array] = {}
        attention: dict[str, Array] = {}
        for network, taken in _inputs(one, graphs, batch).items():
            before = "" if graphs.is_one else f"{network}/"
            nodes |= {f"{before}{node.name}": node for node in graphs[network].nodes}
            outputs, weights = watched(one.job.learner.networks[network].eval(), taken)
            values |= _named(outputs, before)
            attention |= _named(weights, before)
        shown = _shown(run, one, chosen, number, batch)
    return Inside(run, shown, nodes, values, attention)


def watched(network: Any, inputs: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the outputs of the nodes of a network in evaluation mode, and the weights of its attention (N, *, T, S).

    The weights are what the module itself makes: torch's fused attention is asked again with ones in place of values.
    """
    found: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    nodes = {one.meta["node"]: one.target for one in network.graph.nodes if "node" in one.meta}
    modules = {str(target): name for name, target in nodes.items()}

    class Watching(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            name = n.meta.get("node") or modules.get(str(n.target))
            with Weights(lambda made: weights.__setitem__(str(name), made)):
                value = super().run_node(n)
            if name is not None and isinstance(value, torch.Tensor):
                found[name] = value
            return value

    Watching(network).run(*inputs)
    return found, weights


class Weights:
    """Context in which the weights of each attention are handed on, as torch computes them."""

    def __init__(self, take: Callable[[Tensor], None]) -> None:
        mode: Any = torch.overrides.TorchFunctionMode

        class Mode(mode):  # type: ignore[misc]
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = func(*args, **(kwargs or {}))
                if func is torch.nn.functional.scaled_dot_product_attention:
                    take(_of_ones(func, *args, **(kwargs or {})))
                elif func is torch.Tensor.softmax:
                    take(made)
                return made

        self.mode = Mode()

    def __enter__(self) -> None:
        from ..modules import attend

        # windows are computed with all keys and a mask: the weights of blocks would be those of other keys each
        self.is_blocked, attend.is_blocked = attend.is_blocked, lambda *_: False
        self.mode.__enter__()

    def __exit__(self, *about: object) -> None:
        from ..modules import attend

        self.mode.__exit__(*about)
        attend.is_blocked = self.is_blocked


def _of_ones(attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Return the weights (N, heads, T, S) of an attention: its sums over values that are one key each."""
    ones = torch.eye(k.shape[-2], dtype=v.dtype, device=v.device).expand(*v.shape[:-1], k.shape[-2])
    return attention(q, k, ones, **options)


def _example(one: Loaded, run: RunFolder, part: str, number: int) -> Batch:
    """Return an example of a part as a batch. DlxError where there is none of that number."""
    data = one.job.parts[part]
    if not 0 <= number < len(data):
        message = f"the part `{part}` of {run.key} has no example {number:,}: it has {plural(len(data), 'example')}"
        raise DlxError(message, hint=f"Take one from 0 to {len(data) - 1:,}.")
    return data.take(torch.tensor([number], device=one.job.learner.compute.device))


def _inputs(one: Loaded, graphs: Graphs, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
    """Return what each network takes of a batch, those that take fields of the data alone."""
    found: dict[str, tuple[Tensor, ...]] = {}
    objective = one.job.objective
    if isinstance(objective, Supervised):
        return {"network": batch.inputs}
    for call in objective.needs(one.source.facts().fields, graphs.ports):
        fields = {name: field for name, field in call.inputs.items() if isinstance(field, str)}
        if len(fields) == len(call.inputs) and call.network in graphs:
            first = next(iter(fields.values()), "")  # one input may be called as it likes
            taken = tuple(batch[fields.get(name, first)] for name in graphs[call.network].inputs)
            found.setdefault(call.network, taken)
    return found


def _named(values: Mapping[str, Tensor], before: str) -> dict[str, Array]:
    return {f"{before}{name}": value[0].float().cpu().numpy() for name, value in values.items()}


def _shown(run: RunFolder, one: Loaded, part: str, number: int, batch: Batch) -> Example:
    """Return an example as people look at it: as a picture or as tokens."""
    place = f"{part} {number}"
    shown = pictures.pictures_if_any(one.source, one.sets, part, [number])
    if shown is not None:
        return Example(place, shown[0])
    tokenizer = recorded_tokenizer(input_record_of(run).reading)
    first = next(iter(batch.fields.values()))
    if tokenizer is None or first.is_floating_point() or first.dim() != 2:
        return Example(place)
    return Example(place, None, tuple(tokenizer.decode([int(token)]) for token in first[0]))


__all__ = ["ATTENTION", "Example", "Inside", "Weights", "inside", "watched"]
