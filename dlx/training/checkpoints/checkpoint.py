"""Checkpoints: weights as safetensors and facts as JSON, each with a checksum, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import input_record
from ...errors import MAKE_ROOM, DlxError, NotWrittenError, RunError, shortened
from ...graph import Graph, Graphs, trace, trace_all
from ...graph.borrowed import apart, stored_elsewhere
from ...lazy import torch
from ...network import build, build_all
from ...objectives.learned import SCOPE
from ...spec import Experiment
from ...spec import load as load_spec
from ...utils import files
from ...utils.json_documents import ALTERED, is_count, is_number, loads
from .safetensors_pieces import pieces

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


def save(folder: Path, name: str, network: nn.Module, facts: dict[str, Any]) -> None:
    """Write `folder/name.safetensors` and `.json`. RunError where a weight is not finite or the disk is full."""
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write(folder, name, weights, facts)


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a checkpoint of tensors on the CPU; those below `state/` are not weights, and may be infinite."""
    bad = next((key for key, value in tensors.items() if not key.startswith("state/") and not _finite(value)), None)
    if bad is not None:
        raise RunError(f"the weights of `{bad}` are not finite", hint="Lower the learning rate.")
    digest, size = hashlib.sha256(), 0

    def hashed() -> Iterator[bytes | memoryview]:
        nonlocal size
        for piece in pieces(tensors):
            digest.update(piece)
            size += len(piece)
            yield piece

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # tensors first: facts without them would pass for a checkpoint, tensors without facts are one that is missing
        files.replace(folder / f"{name}.safetensors", hashed())
        _write_facts(folder, name, {**facts, "sha256": digest.hexdigest(), "bytes": size})
    except OSError as error:
        message = f"the checkpoint could not be written to {folder}: {error.strerror}"
        raise NotWrittenError(message, hint=MAKE_ROOM) from error


def _write_facts(folder: Path, name: str, facts: dict[str, Any]) -> None:
    about = {**facts, "file": f"{name}.safetensors"}
    text = json.dumps({**about, "facts_sha256": _digest(about)}, indent=2)
    files.replace(folder / f"{name}.json", text.encode())


def facts(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the facts of a checkpoint without its tensors; None where they are missing or altered."""
    try:
        return _about(folder / f"{name}.json")
    except DlxError:
        return None


def rename(folder: Path, old: str, new: str, about: dict[str, Any] | None = None) -> None:
    """Rename a checkpoint; its facts are those in its folder, or `about`. The new name must be free."""
    about = about or facts(folder, old)
    assert about is not None
    (folder / f"{old}.safetensors").replace(folder / f"{new}.safetensors")
    _write_facts(folder, new, about)
    (folder / f"{old}.json").unlink(missing_ok=True)


def _finite(value: Tensor) -> bool:
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.isfinite(torch.stack(value.aminmax())).all())  # no mask as large as the weights


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the facts and tensors of a checkpoint. DlxError where it is missing, altered, or no checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    path = folder / f"{name}.safetensors"
    data, about = _bytes(path), _about(folder / f"{name}.json")
    if hashlib.sha256(data).hexdigest() != about.get("sha256"):
        raise AlteredError(f"{path} is not what was written: its checksum differs", hint=ALTERED)
    try:
        return about, from_bytes(data)
    except SafetensorError as error:
        raise DlxError(f"{path} holds no tensors: {error}", hint=FOREIGN) from error


class AlteredError(DlxError):
    """A checkpoint is not as it was written, after a kill, a power cut or a change of its files."""


class MissingError(DlxError):
    """There is no such checkpoint, or half of one: a kill came between its two files."""


FOREIGN = "Bring the run's own checkpoints back, or train its spec anew."


def _bytes(path: Path) -> bytes:
    try:
        return files.read(path)
    except FileNotFoundError as error:
        hint = "A run keeps one from its first evaluation on."
        raise MissingError(f"there is no checkpoint {path.with_suffix('.safetensors')}", hint=hint) from error
    except OSError as error:
        raise AlteredError(f"{path} cannot be read: {files.reason(error)}", hint=ALTERED) from error


def _about(path: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint. DlxError where they were altered, or are not facts of a checkpoint."""
    data = _bytes(path)
    try:
        about = loads(data)
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.pop("facts_sha256", None) != _digest(about):
        raise AlteredError(f"{path} is not what was written: its checksum differs", hint=ALTERED)
    for key, (fits, what) in FACTS.items():
        if not fits(about.get(key, DEFAULT_FACTS.get(key))):
            shown = shortened(json.dumps(about[key])) if key in about else "nothing"
            raise DlxError(
                f"{path} has no facts of a checkpoint: `{key}` is {what}, and here is {shown}", hint=FOREIGN
            )
    return about


OWN_FACTS = ("sha256", "bytes", "file", "spec_hash")
"""Facts that a copy of a checkpoint in another run has of its own."""
FACTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (is_count, "a number of steps"),
    "epoch": (is_number, "a number of epochs"),
    "sha256": (lambda value: isinstance(value, str), "a text"),
    "metrics": (lambda value: isinstance(value, dict) and all(map(is_number, value.values())), "numbers by name"),
    "value": (is_number, "a number"),
    "metric": (lambda value: isinstance(value, str), "a text"),
    "spec_hash": (lambda value: isinstance(value, str), "a text"),
    "moved": (lambda value: isinstance(value, dict), "an object"),
}
"""Check and description of each fact of a checkpoint that other code reads."""
DEFAULT_FACTS: dict[str, Any] = {
    "step": 0,
    "sha256": "",
    "epoch": 0,
    "metrics": {},
    "value": 0,
    "metric": "",
    "spec_hash": "",
    "moved": {},
}
"""Defaults of facts that not every checkpoint has."""


OF_OBJECTIVE = f"{SCOPE}."
"""Prefix of the parameters that the objective learns: a network that answers without it has none."""


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights and buffers of a checkpoint into a network. DlxError where they are of another network."""
    own = network.state_dict()
    beside = "state/" if any(key.startswith(OF_OBJECTIVE) for key in own) else ("state/", OF_OBJECTIVE)
    weights = {key: value for key, value in tensors.items() if not key.startswith(beside)}
    for name in [*own, *(name for name in weights if name not in own)]:
        here, there = own.get(name), weights.get(name)
        if here is not None and there is not None and (here.shape, here.dtype) == (there.shape, there.dtype):
            continue
        differs = f"`{name}` is {_described(there)} there, and {_described(here)} here"
        raise DlxError(f"{path} is a checkpoint of another network: {differs}", hint=FOREIGN)
    network.load_state_dict(weights)


def of_network(tensors: Mapping[str, Tensor], scope: str, graph: Graph) -> dict[str, Tensor]:
    """Return the weights of one network by their names in it, those that it shares with others among them.

    `scope` is its name, empty where there is one.
    """
    before = f"{scope}." if scope else ""
    named = {key[len(before) :]: one for key, one in tensors.items() if key.startswith(before)}
    own = {key: one for key, one in named.items() if not key.startswith(("state/", OF_OBJECTIVE))}
    for module, stored in stored_elsewhere(graph):
        there = f"{stored}."
        own |= {f"{module}.{key[len(there) :]}": one for key, one in tensors.items() if key.startswith(there)}
    return own


def _described(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def load_weights(network: nn.Module, folder: Path, name: str = "final") -> dict[str, Any]:
    """Fill `network` from a checkpoint; return its facts. DlxError where it is missing, altered or another's."""
    facts, tensors = read(folder, name)
    fill(network, tensors, folder / f"{name}.safetensors")
    return facts


def restore(run: Path, name: str = "final") -> tuple[fx.GraphModule, Graph]:
    """Return the one trained network of a run folder, on the CPU and in evaluation mode, and its graph."""
    (found,) = restore_all(run, name).values()
    return found


def restore_all(run: Path, name: str = "final") -> dict[str, tuple[fx.GraphModule, Graph]]:
    """Return the trained networks of a run folder by name, on the CPU and in evaluation mode, with their graphs.

    Those with the weights of another run are left out.
    """
    graphs, path = graphs_of(run), run / "checkpoints" / f"{name}.safetensors"
    own = {each: graph for each, graph in graphs.items() if each not in graphs.sources}
    networks = build_all(own, {})
    whole = networks["network"] if graphs.is_one else torch.nn.ModuleDict(networks)
    _, tensors = read(path.parent, name)
    fill(whole, tensors, path)
    found = {}
    for each, network in networks.items():
        # one that leaves the others has what it shares as layers of its own
        graph = apart(own[each])
        alone = network if graph is own[each] else build(graph)
        if alone is not network:
            fill(alone, of_network(tensors, each, graph), path)
        found[each] = alone.eval(), graph
    return found


def graphs_of(run: Path, read: Experiment | None = None) -> Graphs:
    """The graphs of a run's networks. The data need not be there where the run has the shapes of its inputs.

    `read` is the spec of the run, where it is read already.
    """
    experiment, known = read or load_spec(run / "spec.yaml"), input_record.load(run)
    if known is None or experiment.networks:
        return trace_all(experiment.last_stage)
    return Graphs.of(trace(replace(experiment, data=None, known_facts=known.facts), known.inputs))
