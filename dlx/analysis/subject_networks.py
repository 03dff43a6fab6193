"""The networks of a subject: with the weights that a training would start from, or those of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..errors import DlxError
from ..graph import Graphs
from ..lazy import torch
from ..network import build_all
from ..runs.folder import RunFolder
from ..spec import load
from ..trained.evaluate import weights_of
from ..training import data_dependent_init, following, initial_weights, network_sources, random_generators
from ..training.checkpoints import checkpoint

if TYPE_CHECKING:
    from torch import device as Device
    from torch import fx

    from .subject import Subject


def of_run(run: RunFolder, name: str, graphs: Graphs, device: Device) -> dict[str, fx.GraphModule]:
    """Return the networks of a run with the weights of a checkpoint. DlxError where it has none of that name."""
    weights_of(run, name)
    found = {each: network for each, (network, _) in checkpoint.restore_all(run.dir, name).items()}
    for network in found.values():
        _check_finite(network, run, name)
    if missing := [each for each in graphs if each not in found]:
        sources = network_sources.load(load(run.file("spec.yaml")).last_stage, run.dir)
        elsewhere = network_sources.networks(graphs, sources, device)
        found |= {each: cast("fx.GraphModule", elsewhere[each]) for each in missing if each in elsewhere}
    return found


def initial(subject: Subject, seed: int) -> dict[str, fx.GraphModule]:
    """Draw the weights of all networks of a spec in the order in which `dlx train` draws them."""
    experiment, graphs, device = subject.experiment, subject.graphs, subject.device
    random_generators.seed_all(seed)
    sources, views = network_sources.load(experiment), experiment.views()
    others = {*sources, *graphs.followers}
    own = {name: graph for name, graph in graphs.items() if name not in others}
    made = build_all(own, {name: views[name].init for name in own})
    made |= following.networks(graphs, device)
    source = initial_weights.load(experiment, graphs) if experiment.weights is not None else None
    if source is not None:
        source.fill(made)
    for name, graph in own.items():
        filled = source.modules(name) if source is not None else set[str]()
        if data_dependent_init.modules_to_scale(graph, views[name].init, filled):
            part = subject.part("train")
            on = made[name].to(device)
            data_dependent_init.initialize(on, graph, views[name].init, part, seed, filled)
    elsewhere = network_sources.networks(graphs, sources, device)
    return made | {name: cast("fx.GraphModule", one) for name, one in elsewhere.items()}


def _check_finite(network: fx.GraphModule, run: RunFolder, name: str) -> None:
    """Raise DlxError for weights that are NaN or infinite, of which no figure says anything."""
    for key, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            hint = "dlx saves no such weights: another program wrote them. Look at another one: `--checkpoint NAME`."
            raise DlxError(f"the weights `{key}` of {run.key}, checkpoint `{name}`, are not finite", hint=hint)
