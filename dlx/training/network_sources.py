"""Networks with the weights of a run or of an earlier stage, which objectives call and nothing trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Sets, input_record
from ..errors import DlxError, Problem
from ..graph import Graphs
from ..lazy import torch
from ..network import build
from ..spec import Experiment
from ..spec.sections.network_sources import NetworkSource
from .checkpoints import checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch import device as Device


@dataclass(frozen=True)
class SourceWeights:
    """The tensors of a checkpoint, and the name of the network there; empty where it has one."""

    path: Path
    digest: str
    tensors: Mapping[str, Tensor]
    scope: str

    def as_json(self) -> dict[str, Any]:
        """Return what the lock file has of it."""
        return {"source": str(self.path), "digest": self.digest}


def load(experiment: Experiment, own: Path | None = None) -> dict[str, SourceWeights]:
    """Read the weights of the networks that come from elsewhere, by name; `own` is the folder of this run.

    DlxError where a checkpoint is missing or altered.
    """
    return {name: _read(name, source, own or Path()) for name, source in experiment.sources.items()}


def _read(name: str, source: NetworkSource, own: Path) -> SourceWeights:
    folder = source.checkpoints(own)
    try:
        facts, tensors = checkpoint.read(folder, source.checkpoint)
    except DlxError as error:
        first = error.problems[0]
        message = f"the network `{name}` has the weights of {source.text}: {first.message}"
        raise DlxError(message, hint=first.hint) from error
    path, scope = folder / f"{source.checkpoint}.safetensors", source.network if source.experiment.networks else ""
    return SourceWeights(path, str(facts["sha256"]), tensors, scope)


def networks(graphs: Graphs, loaded: Mapping[str, SourceWeights], device: Device) -> dict[str, nn.Module]:
    """Build the networks in evaluation mode, without gradients. Nothing is drawn from the run's generator."""
    found: dict[str, nn.Module] = {}
    for name, weights in loaded.items():
        with torch.random.fork_rng(devices=[]):
            network = build(graphs[name]).to(device)
        own = checkpoint.of_network(weights.tensors, weights.scope, graphs[name])
        checkpoint.fill(network, own, weights.path)
        found[name] = network.eval()
    return found


def class_problems(experiment: Experiment, sets: Sets) -> list[Problem]:
    """Return the problems of networks that were trained on other classes than those of the data."""
    found = []
    for name, source in experiment.sources.items():
        known = input_record.load(source.run) if source.run is not None else None
        if known is None or not known.class_names or not sets.class_names or known.class_names == sets.class_names:
            continue
        was, now = ", ".join(known.class_names[:12]), ", ".join(sets.class_names[:12])
        message = f"`{name}` was trained on the classes {was}, and the data has {now} ({experiment.place('data')})"
        hint = "Take data with the same classes in the same order."
        found.append(Problem(message, hint, experiment.place("networks", name, "from"), f"networks.{name}.from"))
    return found


def with_notes(experiment: Experiment, sets: Sets) -> Sets:
    """Return the data with a note for each network whose inputs were preprocessed otherwise where it was trained."""
    notes = []
    for name, source in experiment.sources.items():
        known = input_record.load(source.run) if source.run is not None else None
        if known is not None and not _same(known.steps, sets.preprocess):
            steps = " and ".join(_listed(each) for each in (known.steps, sets.preprocess))
            notes.append(f"`{name}` was trained on inputs that were preprocessed otherwise: {steps}")
    return replace(sets, notes=(*sets.notes, *notes)) if notes else sets


def _same(one: Any, other: Any) -> bool:
    """Whether two lists of fitted preprocessing steps are equal to the bit."""
    return len(one) == len(other) and all(
        a.step == b.step
        and a.found.keys() == b.found.keys()
        and all((a.found[k] == b.found[k]).all() for k in a.found)
        for a, b in zip(one, other, strict=True)
    )


def _listed(steps: Any) -> str:
    return ", ".join(one.step.kind for one in steps) or "not at all"
