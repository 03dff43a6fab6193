"""Activations of the units of a recurrent layer at each token of a text, and the features of the text they follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import input_record
from ..data.text.corpus import Corpus
from ..data.text.recorded import reading_of_run, recorded_tokenizer
from ..data.text.text import PARTS, Text
from ..data.text.token_files import encoded
from ..data.text.windows import Windows
from ..errors import DlxError, did_you_mean, number_text, plural
from ..experiment.resume_checks import check_digest
from ..lazy import np, torch
from ..runs.folder import ARTIFACTS
from ..spec import load
from ..training import device, process
from ..training.carrying import RECURRENT
from ..training.checkpoints import checkpoint
from .evaluate import input_record_of, weights_of
from .input_sizes import graph_for
from .text_features import correlations, features

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    from ..graph import Graph, LayerNode
    from ..runs.folder import RunFolder
    from ..text import Tokenizer

    Numbers = npt.NDArray[Any]

WINDOWS_AT_ONCE = 64
"""Windows that pass the network at once where each begins at zeros."""


@dataclass(frozen=True)
class Unit:
    """A unit, the feature with which its activation has the largest correlation, and that; None without features."""

    number: int
    feature: str | None
    correlation: float | None


@dataclass(frozen=True)
class Activations:
    """Activations of a recurrent layer over a text.

    Attributes:
        layer: name of the layer.
        what: `tanh(cell)` or `state`.
        text: name of the part, or of the file.
        pieces: the text of each token.
        values: the activation of each unit at each token (tokens, units); those of several layers in a row.
        units: the units that were chosen.
    """

    run: RunFolder
    layer: str
    what: str
    text: str
    pieces: tuple[str, ...]
    values: Numbers = field(repr=False)
    units: tuple[Unit, ...]
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of the page among the files of the run."""
        layer = self.layer.replace("/", ".")
        return f"{ARTIFACTS}/activations/{layer}-{self.text.replace('/', '.')}.html"

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx activations --json`."""
        units = [
            {
                "unit": one.number,
                "feature": one.feature,
                "correlation": one.correlation,
                "activations": [round(float(value), 4) for value in self.values[:, one.number]],
            }
            for one in self.units
        ]
        document = {"run": self.run.key, "layer": self.layer, "activation": self.what, "text": self.text}
        return document | {"file": self.file, "tokens": list(self.pieces), "units": units, "notes": list(self.notes)}


def activations(
    run: RunFolder,
    units: Sequence[int] = (),
    layer: str | None = None,
    *,
    file: Path | None = None,
    part: str | None = None,
    n: int = 5000,
    name: str | None = None,
) -> Activations:
    """Return the activations of a recurrent layer over the first `n` tokens of a part of a run's text, or of a file.

    `units` are numbers of units, else the one of each feature that follows it most closely. `layer` is the recurrent
    layer, by default the last one; `part` the test part where there is one, else the validation or training part;
    `name` the checkpoint, by default the last weights.

    Raises:
        DlxError: the run learned no text cut into windows, or has no recurrent layer that goes from the first token
            to the last; a layer, unit or part that it does not have.
    """
    process.tune()
    if n < 1:
        raise DlxError(f"--n is {n}", hint="Take 1 or more.")
    if file is not None and part is not None:
        raise DlxError("--text names a text, and --part another", hint="Leave one out.")
    experiment, known = load(run.file("spec.yaml")), input_record_of(run)
    data, tokenizer = experiment.data, recorded_tokenizer(known.reading)
    if not isinstance(data, Text) or tokenizer is None or data.documents != "cut":
        what = f"`documents: {data.documents}`" if isinstance(data, Text) else f"`{data.kind}`" if data else "no data"
        message = f"{run.key} was trained on {what}, and activations are of a text that is cut into windows"
        raise DlxError(message, hint="Take a run of `data: text` with `documents: cut`.")
    graph = graph_for(experiment, known)
    node = _layer(run, graph, layer)
    label, documents, total = _of_file(data, tokenizer, file) if file is not None else _of_part(run, data, part)
    documents = _first(documents, n)
    from ..network import build

    network = build(graph, experiment.init).eval()
    saved = name or "final"
    checkpoint.load_weights(network, weights_of(run, saved), saved)
    with device.threads(run.threads()), torch.inference_mode():
        module: Any = network.get_submodule(node.name.replace("/", "."))
        values = np.concatenate([_over(network, module, one, data.window, data.carry) for one in documents])
    pieces = tuple(piece for one in documents for piece in _pieces(tokenizer, one))
    notes = [f"the first {len(pieces):,} of {total:,} tokens: --n takes more"] if len(pieces) < total else []
    if not data.carry:
        notes.append(f"without `carry` each window of {data.window:,} tokens begins at a state of zeros")
    what = "tanh(cell)" if node.kind == "lstm" else "state"
    chosen = _chosen(run, node, units, values, features(pieces))
    return Activations(run, node.name, what, label, pieces, values, chosen, tuple(notes))


def _layer(run: RunFolder, graph: Graph, name: str | None) -> LayerNode:
    """Return the recurrent layer that is asked about."""
    found = {node.name: node for node in graph.nodes if node.kind in RECURRENT}
    if not found:
        raise DlxError(f"{run.key} has no recurrent layer", hint="Take a run with an `rnn`, `lstm` or `gru`.")
    if name is not None and name not in found:
        message = f"`{name}` is no recurrent layer of {run.key}"
        raise DlxError(message, hint=did_you_mean(name, list(found)) or f"There is {', '.join(found)}.")
    node = found[name] if name is not None else list(found.values())[-1]
    used = [one for one in graph.nodes if (one.owner or one.name) == (node.owner or node.name)]
    why = (
        "goes from the last token to the first too"
        if getattr(node.layer, "bidirectional", False)
        else "begins at a state that is wired"
        if len(node.inputs) > 1
        else "is used twice in a pass"
        if len(used) > 1
        else ""
    )
    if why:
        others = [one for one in found if one != node.name]
        hint = f"Name another with --layer: {', '.join(others)}." if others else "Such a layer is not gone through."
        raise DlxError(f"`{node.name}` of {run.key} {why}", hint=hint)
    return node


def _of_file(data: Text, tokenizer: Tokenizer, file: Path) -> tuple[str, list[Numbers], int]:
    """Return the name of a file, its tokens as one document, and their number."""
    (document,) = Corpus(file, None, None, "*", data.encoding, data.of_bytes).documents()
    tokens = np.concatenate([np.empty(0, np.int64), *encoded(document, tokenizer, file.name)]).astype(np.int64)
    if not len(tokens):
        raise DlxError(f"{file} has no token", hint="Give a longer text.")
    return file.name, [tokens], len(tokens)


def _of_part(run: RunFolder, data: Text, part: str | None) -> tuple[str, list[Numbers], int]:
    """Return the name of a part, the tokens of its documents, and their number."""
    with reading_of_run(input_record.reading_of(run.dir)):
        sets = data.load()
    check_digest(run, sets, "Bring the old text back, or give one with `--text`.")
    parts = sets.parts()
    name = part or next(one for one in reversed(PARTS) if one in parts)
    if name not in parts:
        message = f"the data of {run.key} has no part `{name}`"
        raise DlxError(message, hint=did_you_mean(name, list(parts), "the parts"))
    windows: object = parts[name].x
    assert isinstance(windows, Windows)
    tokens, begins = windows.file.tokens, windows.file.documents
    documents = [tokens[begin:end] for begin, end in pairwise(begins.tolist()) if end > begin]
    return name, documents, len(tokens)


def _first(documents: Sequence[Numbers], n: int) -> list[Numbers]:
    """Return the first `n` tokens of some documents."""
    found, left = [], n
    for one in documents:
        if left <= 0:
            break
        found.append(np.asarray(one[:left]).astype(np.int64))
        left -= len(found[-1])
    return found


def _over(network: nn.Module, module: Any, tokens: Numbers, window: int, carry: bool) -> Numbers:
    """Return the activations of a recurrent module over a document (tokens, units), as the network runs.

    What reaches the module is taken from passes of the whole network; then the module goes over it step by step, for
    it tells its cells at the end of a call alone.
    """
    from ..modules.steps import Cache

    rows = torch.from_numpy(np.pad(tokens, (0, -len(tokens) % window))).view(-1, window)
    made, states, cache = [], dict[Any, Any](), Cache()
    for i, cut in enumerate(torch.split(rows, 1 if carry else WINDOWS_AT_ONCE)):
        begins = torch.full((len(cut),), i == 0 or not carry)
        x = _inputs_of(network, module, cut, begins, states)
        cache = cache if carry else Cache()
        steps = [_after(module, x[:, t : t + 1], cache) for t in range(window)]
        made.append(torch.stack(steps, 1).flatten(0, 1))
    found: Numbers = torch.cat(made)[: len(tokens)].double().numpy()
    return found


def _inputs_of(
    network: nn.Module, module: nn.Module, tokens: Tensor, begins: Tensor, states: dict[Any, Any]
) -> Tensor:
    """Return what a module is given where the network takes some windows: (N, window, values)."""
    from ..modules.carry import carrying

    taken: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        with carrying(begins, states):
            network(tokens)
    finally:
        handle.remove()
    return taken[0]


def _after(module: Any, x: Tensor, cache: Any) -> Tensor:
    """Take a step, (N, 1, values), and return the activations after it (N, units)."""
    module.step(x, cache=cache)
    held = cache.held
    activated: Tensor = (held["state 1"].tanh() if "state 1" in held else held["state 0"]).flatten(1)
    return activated


def _pieces(tokenizer: Tokenizer, tokens: Numbers) -> list[str]:
    """Return the text of each token, with what stands between it and the one before."""
    numbers = [int(number) for number in tokens]
    known: dict[tuple[int, ...], str] = {}

    def piece(before: Sequence[int], number: int) -> str:
        key = (*before, number)
        if key not in known:
            known[key] = tokenizer.decode(key)[len(tokenizer.decode(list(before))) if before else 0 :]
        return known[key]

    return [piece(numbers[max(0, i - 1) : i], number) for i, number in enumerate(numbers)]


def _chosen(
    run: RunFolder, node: LayerNode, asked: Sequence[int], values: Numbers, found: Mapping[str, Numbers]
) -> tuple[Unit, ...]:
    """Return the units that are asked for, else the one that follows each feature most closely."""
    count = values.shape[1]
    if strange := [number for number in asked if not 0 <= number < count]:
        message = f"`{node.name}` of {run.key} has no unit {number_text(strange[0])}: it has {plural(count, 'unit')}"
        raise DlxError(message, hint=f"Take one from 0 to {count - 1:,}.")
    table = {name: correlations(values, one) for name, one in found.items()}
    if not asked and not table:
        message = "no feature of this text is told: each has too few tokens with it, or without it"
        raise DlxError(message, hint="Give a longer text, or name units by their numbers.")
    if not asked:
        best = [(name, int(np.argmax(np.abs(each)))) for name, each in table.items()]
        return tuple(Unit(number, name, float(table[name][number])) for name, number in best)
    units = []
    for number in dict.fromkeys(asked):
        name = max(table, key=lambda one: abs(table[one][number])) if table else None
        units.append(Unit(number, name, float(table[name][number]) if name is not None else None))
    return tuple(units)
