"""Nearest neighbours of a token in the embedding of a trained network, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.text.fields import text_fields
from ..data.text.recorded import recorded_tokenizer
from ..errors import DlxError, did_you_mean, plural
from ..graph.inputs import fields_of
from ..lazy import np
from ..spec import Experiment, load
from ..text import WithSpecials
from ..training.checkpoints import checkpoint
from .evaluate import input_record_of, weights_of
from .input_sizes import graph_for

if TYPE_CHECKING:
    from ..data.input_record import InputRecord
    from ..graph import Graph, LayerNode
    from ..runs.folder import RunFolder
    from ..text import Tokenizer


@dataclass(frozen=True)
class Neighbour:
    """A token, and the cosine of the angle between its vector and that of the one that was asked about."""

    token: str
    similarity: float


@dataclass(frozen=True)
class Neighbours:
    """The tokens whose vectors are nearest to that of `of`, the nearest first."""

    run: str
    layer: str
    of: str
    nearest: tuple[Neighbour, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx neighbours --json`."""
        nearest = [{"token": one.token, "similarity": one.similarity} for one in self.nearest]
        return {"run": self.run, "layer": self.layer, "of": self.of, "nearest": nearest}


def neighbours(run: RunFolder, of: str, n: int = 5, layer: str | None = None, name: str | None = None) -> Neighbours:
    """Return the `n` tokens nearest to the token `of` in an embedding of texts.

    `layer` is the embedding where the network has several, `name` the checkpoint; by default the last weights.
    Special tokens, such as padding, are none of them.

    Raises:
        DlxError: the network has no embedding of a text, or several and `layer` names none; `of` is no token of it.
    """
    if n < 1:
        raise DlxError(f"--n is {n}", hint="Take 1 or more.")
    experiment, known = load(run.file("spec.yaml")), input_record_of(run)
    graph = graph_for(experiment, known)
    node, tokenizer = _embedding(run, experiment, graph, known, layer)
    names, first = tokenizer.names, tokenizer.first if isinstance(tokenizer, WithSpecials) else 0
    if of not in names[first:]:
        message = f"`{of}` is no token of {run.key}, which knows {plural(len(names) - first, 'token')}"
        raise DlxError(
            message, hint=did_you_mean(of, names[first:]) or f"Among them: {' '.join(names[first:][:12])}."
        )
    from ..network import build

    network = build(graph, experiment.init)
    saved = name or "final"
    checkpoint.load_weights(network, weights_of(run, saved), saved)
    weight: Any = network.get_parameter(f"{(node.owner or node.name).replace('/', '.')}.weight")
    nearest = _nearest(weight.detach().double().numpy(), names.index(of, first), first, n)
    return Neighbours(run.key, node.name, of, tuple(Neighbour(names[i], float(cosine)) for i, cosine in nearest))


def _nearest(vectors: Any, which: int, first: int, n: int) -> list[tuple[int, float]]:
    """Return the rows (V, D) nearest to one of them, from `first` on, with their cosines; a vector of zeros has 0."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit[which]
    order = [int(i) for i in np.argsort(-cosines, kind="stable") if i >= first and i != which]
    return [(i, cosines[i]) for i in order[:n]]


def _embedding(
    run: RunFolder, experiment: Experiment, graph: Graph, known: InputRecord, layer: str | None
) -> tuple[LayerNode, Tokenizer]:
    """Return the embedding that is asked about, and the tokenizer whose tokens its rows are."""
    fields = text_fields(known.reading)
    one = recorded_tokenizer(known.reading)
    taken = fields_of(experiment, known.facts, graph.inputs)
    found: dict[str, tuple[LayerNode, Tokenizer]] = {}
    for node in graph.nodes:
        if node.kind == "embedding" and node.inputs[0] in graph.inputs:
            field = taken.get(node.inputs[0], node.inputs[0])
            tokenizer = fields[field].tokenizer if field in fields else one
            if tokenizer is not None and node.plan.weights.get("weight", (0,))[0] == tokenizer.size:
                found[node.name] = node, tokenizer
    listed: Sequence[str] = list(found)
    if not found:
        message = f"{run.key} has no embedding of a text: no `embedding` takes the tokens of its data"
        raise DlxError(message, hint="Take a run of `data: text`, or of a table with a text among its `inputs`.")
    if layer is None and len(found) > 1:
        raise DlxError(f"{run.key} has several embeddings of texts", hint=f"Name one: --layer {' | '.join(listed)}.")
    if layer is not None and layer not in found:
        message = f"`{layer}` is no embedding of a text in {run.key}"
        raise DlxError(message, hint=did_you_mean(layer, listed) or f"There is {', '.join(listed)}.")
    return found[layer or listed[0]]
