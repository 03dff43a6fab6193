"""Dead, saturated and always active units by depth, and over a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...graph import Graph, LayerNode
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..measures.activity import FLAT, PIECES, SQUASHING, Activity, activity
from ..measures.over_seeds import over_seeds
from ..measures.walk import values_of
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject

KINDS = FLAT | PIECES | SQUASHING


class Units(Analysis):
    """Units of each activation that are dead, always active or saturated, over a batch; a channel is one unit.

    Dead: the slope is 0 for all examples and positions, so that no gradient passes. Always active: one slope that is
    not 0 everywhere, so that it is linear with the layer before. Saturated: values of a sigmoid, tanh or their kin
    where the slope is below 5 % of the steepest. Of a run with several checkpoints the shares over its steps too.
    Figures: `dead` and `always_active`, shares of all units; `saturated` and `active` (slope not 0), shares of the
    values of each activation in the mean over them; and `worst_dead` of the layer that has most.
    Books: with zero biases and symmetric weights half of all values are active; a ReLU whose weights have all become
    negative never comes back; large weights push tanh and sigmoid to where they are flat.
    """

    kind: ClassVar[str] = "units"
    source: ClassVar[str] = (
        "Deitke, CNNs for Visual Recognition, sections 6.1 and 6.3; Ihler, course notes, chapter 6; "
        "Lu et al. 2019, arXiv:1903.06733, of dying ReLUs by depth"
    )
    example: ClassVar[str] = "dlx analyze units ihler/dead-network"
    figures: ClassVar[tuple[str, ...]] = ("dead", "always_active", "saturated", "active", "worst_dead")

    examples: PositiveInt = Field(512, description="inputs that are looked at, at most")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return that there is no activation with a flat or straight piece."""
        if self._nodes(subject.graph):
            return []
        kinds = ", ".join(f"`{kind}`" for kind in sorted(KINDS))
        return [
            Problem(f"{subject.name} has no activation whose units can be dead or saturated", f"These are: {kinds}.")
        ]

    def _nodes(self, graph: Graph) -> list[LayerNode]:
        return [node for node in graph.nodes if node.kind in KINDS]

    def run(self, subject: Subject) -> Result:
        """Count units in each network, and over the checkpoints of each run."""
        nodes, batch = self._nodes(subject.graph), subject.examples(self.examples)
        each = [self._counted(subject, one.train(not subject.trained), batch) for one in subject.several(self.seeds)]
        shares = np.array([[_shares(one) for one in layers] for layers in each])
        mean, low, high = over_seeds(shares)
        band = [
            (mean[:, i], None if low is None else low[:, i], None if high is None else high[:, i]) for i in range(4)
        ]
        shown = [i for i in range(4) if mean[:, i].any()] or [0]
        marks = tuple(Lines(TITLES[i], np.arange(1, len(nodes) + 1), *band[i]) for i in shown)
        panels = (
            Panel("units by depth", "activation, from the input on", "share", marks),
            *self._over_time(subject, batch),
        )
        rows = [[node.name, one.units, *map(float, row)] for node, one, row in zip(nodes, each[0], mean, strict=True)]
        return Result(
            {**self._figures(each), "worst_dead": float(mean[:, 0].max())},
            panels,
            (("activation", "units", *TITLES), rows),
            seeds=len(each),
        )

    def _counted(self, subject: Subject, network: fx.GraphModule, batch: Batch) -> list[Activity]:
        """Return the activity of each activation of a network."""
        nodes = self._nodes(subject.graph)
        with torch.no_grad():
            _, values = values_of(network, batch.inputs, [n.inputs[0] for n in nodes])
        network.eval()
        module = {n.name: network.get_submodule(n.home.replace("/", ".")) for n in nodes}
        return [activity(subject.graph, n, module[n.name], values[n.inputs[0]].float()) for n in nodes]

    def _figures(self, each: list[list[Activity]]) -> dict[str, float]:
        """Return the shares over all layers and networks."""
        flat = [one for layers in each for one in layers]
        units, values = sum(one.units for one in flat), float(len(flat))
        return {
            "dead": sum(one.dead for one in flat) / units,
            "always_active": sum(one.always_active for one in flat) / units,
            "saturated": sum(one.saturated for one in flat) / values,
            "active": sum(one.active for one in flat) / values,
        }

    def _over_time(self, subject: Subject, batch: Batch) -> tuple[Panel, ...]:
        """Return a panel over the checkpoints of the first run, from its initial weights on; none for a spec.

        Each is looked at as the training saw it, norms by the batch: running statistics are late at first.
        """
        from ...training.checkpoints import checkpoint
        from ..subject import of_spec

        if not subject.trained:
            return ()
        start = of_spec(subject.experiment)
        found = {0: self._counted(subject, start.network(start.seed).train(), batch)}
        folder = subject.runs[0].dir / "checkpoints"
        for name in sorted(path.stem for path in folder.glob("*.json")):
            facts = checkpoint.facts(folder, name)
            if facts is not None and isinstance(facts.get("step"), int):
                network = subject.network(checkpoint=name).train()
                found[facts["step"]] = self._counted(subject, network, batch)
        steps = sorted(found)
        shares = [self._figures([found[step]]) for step in steps]
        marks = tuple(
            Lines(title, steps, [one[key] for one in shares])
            for title, key in zip(TITLES, KEYS, strict=True)
            if any(one[key] for one in shares)
        )
        return (Panel("units over the training, norms by the batch", "step", "share", marks),)


KEYS = ("dead", "always_active", "saturated", "active")
TITLES = ("dead", "always active", "saturated", "active")


def _shares(one: Activity) -> tuple[float, ...]:
    return one.dead / one.units, one.always_active / one.units, one.saturated, one.active
