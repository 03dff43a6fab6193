"""Weights that a training starts from: read from the source of `weights`, checked, and copied into networks."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.input_record import reading_of
from ..data.text.fields import text_fields
from ..data.text.recorded import recorded_tokenizer
from ..errors import DlxError, Problem, SpecError, first_line, shortened
from ..graph import Graph, Graphs, initial_weights
from ..graph.initial_weights import Assignment
from ..lazy import torch
from ..objectives.learned import SCOPE
from ..spec import Experiment
from ..spec.sections.initial_weights import InitialWeights
from ..spec.sections.networks import ONE
from ..utils.safetensors_header import TensorInfo
from .checkpoints import checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

Tensors = tuple[str, dict[str, "Tensor"]]
"""The SHA-256 of a file and its tensors."""
_checked: dict[tuple[Any, ...], Tensors] = {}
"""The file of torch that was read to be checked, until the training that it was checked for takes it; one at most."""


@dataclass(frozen=True)
class LoadedWeights:
    """Tensors of a source, and where they go."""

    source: Path
    digest: str
    tensors: Mapping[str, Tensor]
    assignment: Assignment

    def as_json(self) -> dict[str, Any]:
        """Return what the lock file has of it."""
        return {"source": str(self.source), "digest": self.digest, "tensors": len(self.assignment.sources)}

    @property
    def note(self) -> str:
        return self.assignment.sentence(str(self.source))

    def fill(self, networks: Mapping[str, nn.Module]) -> None:
        """Copy the tensors into new networks by name, to their types and devices.

        Of several, the parameters of the objective are beside them, as `objective`, where there are some.
        """
        several = list(networks) != [ONE]
        own = {
            f"{network}.{name}" if several else name: tensor
            for network, module in networks.items()
            for name, tensor in module.state_dict().items()
        }
        with torch.no_grad():
            for name, stored in self.assignment.sources.items():
                if name in own or not name.startswith(f"{SCOPE}."):  # networks alone have no objective beside them
                    own[name].copy_(self.tensors[stored])

    def modules(self, network: str) -> set[str]:
        """Return the names of the modules of a network that have their weights from the source."""
        scope = "" if network == ONE else f"{network}."
        names = (name for name in self.assignment.sources if name.startswith(scope))
        return {name[len(scope) :].rpartition(".")[0] for name in names}


def problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return all mistakes between `weights`, its source and the networks; of a file of torch its tensors are read."""
    if experiment.weights is None:
        return []
    if other := _of_another_tokenizer(experiment, graphs) or _of_other_texts(experiment, graphs):
        return [other]
    try:
        if initial_weights.inspected(experiment, graphs) is None:
            path = initial_weights.file_of(experiment.weights)
            found = _taken(experiment, path)
            _assigned(experiment, graphs, path, found)
            _checked[_state(experiment.weights, path)] = found
    except SpecError as error:
        return list(error.problems)
    return []


def _of_another_tokenizer(experiment: Experiment, graphs: Graphs) -> Problem | None:
    """Return the problem of weights of a run on a text, whose tokens have other numbers than those of this data."""
    weights, data = experiment.weights, experiment.data
    if weights is None or not weights.path.is_dir():
        return None
    from ..data.text.text import Text

    if not isinstance(data, Text):
        return None
    was, now = recorded_tokenizer(reading_of(weights.path), ask_context=False), data.tokenizer()
    if was is None or was == now or not any(_has_tokens(graph, weights, now.size) for graph in graphs.values()):
        return None
    message = f"the weights of {weights.source} are of another tokenizer: {_difference(was.names, now.names)} "
    message += f"in this data ({experiment.place('data', data.kind)})"
    hint = f"`data: {{text: {{tokenizer_of: {weights.source}}}}}` takes its tokens."
    return Problem(message, hint, experiment.place("weights"), "weights")


def _of_other_texts(experiment: Experiment, graphs: Graphs) -> Problem | None:
    """Return the problem of weights of a run with a text field of this name, whose tokens have other numbers."""
    weights, data = experiment.weights, experiment.data
    if weights is None or data is None or not weights.path.is_dir():
        return None
    earlier = text_fields(reading_of(weights.path))
    texts = data.facts().texts if earlier else {}
    for name in (one for one in texts if one in earlier):
        was, now = earlier[name].tokenizer.names, texts[name].names
        if was == now or not any(_has_tokens(graph, weights, len(now)) for graph in graphs.values()):
            continue
        message = f"the weights of {weights.source} are of other tokens of `{name}`: {_difference(was, now)} in this "
        message += f"data ({experiment.place('data', data.kind)})"
        hint = "Name the layers that count tokens in `skip`, so that they begin anew."
        return Problem(message, hint, experiment.place("weights"), "weights")
    return None


def _difference(was: Sequence[str], now: Sequence[str]) -> str:
    """Return the first token that differs, in words."""
    number = next((i for i, (one, other) in enumerate(zip_longest(was, now)) if one != other), 0)
    names = [f"`{names[number]}`" if number < len(names) else "none" for names in (was, now)]
    return f"token {number} is {names[0]} there, and {names[1]}"


def _has_tokens(graph: Graph, weights: InitialWeights, size: int) -> bool:
    """Whether a weight that is taken has an entry for each token."""
    return any(
        size in shape and weights.takes(f"{node.name}/{name}")
        for node in graph.nodes
        for name, shape in node.plan.weights.items()
    )


def load(experiment: Experiment, graphs: Graphs) -> LoadedWeights:
    """Read the source of `weights`. SpecError with all that does not fit."""
    assert experiment.weights is not None
    try:
        path = initial_weights.file_of(experiment.weights)
    except DlxError as error:
        raise initial_weights.placed(experiment, error) from error
    return _assigned(experiment, graphs, path, _taken(experiment, path))


def _state(weights: InitialWeights, path: Path) -> tuple[Any, ...]:
    """Return a key that changes as a file is written anew, or another part of it is meant."""
    facts = path.stat()
    return path.resolve(), facts.st_mtime_ns, facts.st_size, facts.st_ino, weights.key


def _taken(experiment: Experiment, path: Path) -> Tensors:
    """Return what was read of a file as it was checked, which is then forgotten; else read it. SpecError."""
    assert experiment.weights is not None
    try:
        known = _checked.pop(_state(experiment.weights, path), None)
        _checked.clear()
        return known if known is not None else _read(experiment.weights, path)
    except DlxError as error:
        raise initial_weights.placed(experiment, error) from error


def _assigned(experiment: Experiment, graphs: Graphs, path: Path, read: Tensors) -> LoadedWeights:
    """Return which tensors go where. SpecError with all that does not fit."""
    digest, tensors = read
    try:
        _check_finite(path, tensors)
    except DlxError as error:
        raise initial_weights.placed(experiment, error) from error
    there = {name: TensorInfo(tuple(one.shape), _dtype(one)) for name, one in tensors.items()}
    found = initial_weights.assigned(experiment, graphs, there)
    if found.problems:
        raise SpecError(*found.problems)
    return LoadedWeights(path, digest, tensors, found)


def carried(folder: Path, before: Graphs, after: Graphs, stages: tuple[str, str]) -> LoadedWeights:
    """Read the weights with which a stage goes on, from the final ones of the stage before in `folder`. DlxError."""
    facts, tensors = checkpoint.read(folder, "final")
    found = initial_weights.carried(before, after, stages)
    return LoadedWeights(folder / "final.safetensors", str(facts["sha256"]), tensors, found)


def fill(networks: Mapping[str, nn.Module], experiment: Experiment, graphs: Graphs) -> None:
    """Copy the weights that the spec takes from elsewhere into new networks, where it takes some. SpecError."""
    if experiment.weights is not None:
        load(experiment, graphs).fill(networks)


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, one in tensors.items():
        if one.is_floating_point() and not bool(one.isfinite().all()):
            raise DlxError(f"{path} has weights that are not finite: `{name}`", hint="Take another checkpoint.")


def _read(weights: InitialWeights, path: Path) -> Tensors:
    """Return the SHA-256 of a file and its tensors, without the training state of a checkpoint. DlxError."""
    if weights.path.is_dir():
        facts, tensors = checkpoint.read(path.parent, path.stem)
        return str(facts["sha256"]), {name: one for name, one in tensors.items() if not name.startswith("state/")}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DlxError(f"{path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix in initial_weights.TORCH_SUFFIXES:
        return digest, _state_dict(path, data, weights.key)
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        return digest, from_bytes(data)
    except SafetensorError as error:
        raise DlxError(f"{path} is no safetensors file: {error}") from error


def _state_dict(path: Path, data: bytes, key: str | None) -> dict[str, Tensor]:
    """Return the state dict in the bytes of a file of torch, which runs no code of it. DlxError."""
    try:
        found: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        why = "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else first_line(error)
        message = f"{path} is no state dict that torch reads without running code: {shortened(why, 120)}"
        hint = "Save `model.state_dict()` with torch.save, or as safetensors."
        raise DlxError(message, hint=hint) from error
    if key is not None:
        if not isinstance(found, Mapping) or key not in found:
            raise DlxError(f"{path} has no `{key}`", hint=f"It has {_keys(found)}.")
        found = found[key]
    wrong = not isinstance(found, Mapping) or not found
    others = [] if wrong else [name for name, one in found.items() if not isinstance(one, torch.Tensor)]
    if wrong or others:
        inner = [name for name in others if isinstance(found[name], Mapping)]
        hint = f"`key: {inner[0]}` under `weights` takes what is there." if inner else "Save `model.state_dict()`."
        raise DlxError(f"{path} holds no state dict: it has {_keys(found)}", hint=hint)
    return {str(name): one for name, one in found.items()}


def _keys(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    names = [str(name) for name in found]
    return shortened(", ".join(names[:8]), 100) or "nothing"


def _dtype(tensor: Tensor) -> str:
    """Return the type of a tensor in the words of safetensors."""
    if tensor.is_floating_point():
        return f"F{tensor.element_size() * 8}"
    return "C64" if tensor.is_complex() else f"I{tensor.element_size() * 8}"
