"""`dlx.load`, `dlx.inspect` and `dlx.build`: a spec, its networks on paper, and as modules."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import graph as planned
from ..analysis import spec_checks
from ..errors import DlxWarning, Problem, SpecError, plural
from ..graph import Graph, Graphs
from ..graph.memory_forecast import Forecast
from ..shapes import by_x
from ..show import html
from ..show import inspect as tables
from ..spec import Experiment
from ..spec.sections.expect import apply_with
from . import frames
from .arguments import Overrides, Spec, check_whole, experiment_of, is_overridden, override_texts
from .isolation import TURN, isolated
from .warn import warn

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

Inputs = Sequence[int] | Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Inspection:
    """All networks of a spec, known before torch is imported. A notebook shows the table of `dlx inspect`."""

    graphs: Graphs
    """The graph of each network by its name; `network` for the one under `network`."""
    memory: Mapping[str, Forecast]
    """By network, the memory of a training step in bytes; empty where no batch was asked about."""
    memory_by_phase: Mapping[str, Forecast] = field(default_factory=dict)
    """By phase of the objective, the memory of it in a step of all networks."""

    @property
    def graph(self) -> Graph:
        """The graph of the one network. DlxError where the spec has several."""
        if len(self.graphs) != 1:
            names = ", ".join(f"`{name}`" for name in self.graphs)
            raise SpecError(Problem(f"the spec has several networks: {names}", 'Take one: `found.graphs["NAME"]`.'))
        return next(iter(self.graphs.values()))

    @property
    def layers(self) -> DataFrame:
        """A row for each layer in running order; its index is the `name` in the spec.

        Columns: `kind`; `inputs`, names of nodes; `shape` of the output of one example; `params`; `buffers`; `macs`
        of one example, forward; `activation_bytes` of one example in float32; `frozen`; and of the main input's
        receptive field `field_size` (or `global`), `field_stride` and `field_start` by axis, None where there is none
        or it is not known.
        """
        return frames.layers(self.graphs)

    @property
    def params(self) -> int:
        """Learned values, shared ones once, frozen ones too."""
        return self.graphs.params

    @property
    def trainable(self) -> int:
        """Learned values that training moves."""
        return self.graphs.trainable

    @property
    def remaining(self) -> int:
        """Learned values that `prune` leaves."""
        return self.graphs.remaining

    @property
    def macs(self) -> int:
        """Multiply-adds of one example, forward, through each network."""
        return self.graphs.macs

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Oddities that are no errors."""
        return self.graphs.warnings

    def __repr__(self) -> str:
        name, layers = self.graphs.name, sum(len(graph.nodes) for graph in self.graphs.values())
        return f"<dlx.Inspection {name}: {plural(layers, 'layer')}, {self.params:,} parameters, {self.macs:,} MACs>"

    def _repr_html_(self) -> str:
        return "".join(self._tables())

    def _tables(self) -> Iterator[str]:
        titles = ("name", "kind", ">output", ">params", ">MACs", ">memory", ">field")
        for name, graph in self.graphs.items():
            step = self.memory.get(name)
            inputs = [(one, "input", by_x(shape), "", "", "", "") for one, shape in graph.inputs.items()]
            rows = [*inputs, *tables.folded(graph, None, step.batch if step else 1)]
            notes = tables.totals(graph, step.batch if step else None).splitlines()
            peak = [f"{step.total:,} bytes at the peak of a step of {step.batch:,}"] if step else []
            yield html.table(titles, rows, graph.name if self.graphs.is_one else name, [*notes, *peak])


def load(spec: Spec, overrides: Overrides = ()) -> Experiment:
    """Read, compose, override and check a spec. torch is not imported.

    `spec` is a path, the name of a shipped spec, a YAML or TOML text (a string with a line break, or a colon before a
    space), a mapping of plain values, or a spec that is loaded. A `pathlib.Path` is always a path. `defaults` and
    data files of a text or mapping are looked for from the working directory.

    Raises SpecError with all mistakes at once, each with its file, line and column; `<text>` stands for the file of a
    text, and a mapping has the key path alone.
    """
    with TURN:
        experiment = experiment_of(spec, overrides)
        spec_checks.check(experiment, planned.trace_all(experiment))
    return experiment


def inspect(
    spec: Spec,
    overrides: Overrides = (),
    *,
    inputs: Inputs | None = None,
    batch: int | None = None,
    stage: str | None = None,
) -> Inspection:
    """Shapes, parameters, MACs and receptive fields of all layers. torch is not imported.

    `inputs` are other shapes without the batch, `(3, 512, 512)` or by name; `batch` asks for the memory of a training
    step of so many examples; `stage` names one of the spec's `stages`, else the last one is meant. Raises SpecError
    as `dlx.load`; warns (DlxWarning) of oddities of the network and of claims under `expect` that are not met.
    """
    if batch is not None:
        check_whole("batch", batch, 1)
    with TURN:
        experiment, traced = planned.traced(experiment_of(spec, overrides), stage, _shape_texts(inputs))
        memory = planned.memory_forecast.of_each(experiment, traced, batch) if batch is not None else {}
        by_phase = planned.phase_memory.of_phases(experiment, traced, batch) if batch is not None else {}
        unmet = planned.unmet(experiment, traced) if inputs is None else []
        if not apply_with(override_texts(overrides)) or is_overridden(spec):
            unmet = planned.of_other_spec(unmet)
    warn(traced.warnings, 3)
    warn(unmet, 3)
    return Inspection(traced, memory, by_phase)


def build(spec: Spec, overrides: Overrides = (), *, seed: int | None = None) -> nn.Module:
    """The network of a spec as a module on the CPU in training mode, with the weights that a training starts from.

    They are initialized with `seed`, else `train.seed`, else 0; the caller's random generators stay as they are. It
    takes inputs with the batch first, and gives the output or a dict of several. Of a spec with `networks`, an
    `nn.ModuleDict` of them by name. Raises SpecError as `dlx.load`; warns (DlxWarning) where `init` fits weights to
    the data, as only a training does.
    """
    if seed is not None:
        check_whole("seed", seed, 0)
    with TURN:
        experiment = experiment_of(spec, overrides)
        graphs, views = planned.trace_all(experiment), experiment.views()
        used = seed if seed is not None else experiment.train.seed if experiment.train is not None else 0
        with isolated():
            from torch.nn import ModuleDict

            from ..network import build as module_of
            from ..training import data_dependent_init, initial_weights, random_generators

            random_generators.seed_all(used)
            networks = {name: module_of(graph, views[name].init) for name, graph in graphs.items()}
            initial_weights.fill(networks, experiment, graphs)
            if any(data_dependent_init.modules_to_scale(graph, views[name].init) for name, graph in graphs.items()):
                message = "`init` fits weights to the data when a training starts, and these are not fitted yet"
                warnings.warn(message, DlxWarning, stacklevel=2)
    return networks["network"] if graphs.is_one else ModuleDict(networks)


def _shape_texts(inputs: Inputs | None) -> list[str]:
    """Return shapes in the format of `--input`."""
    if inputs is None:
        return []
    if isinstance(inputs, Mapping):
        return [f"{name}={by_x(shape)}" for name, shape in inputs.items()]
    return [by_x(inputs)]
