"""What an analysis looks at: a spec at its initialisation, or runs with their weights."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, Mark, Problem
from ..graph import Graph, Graphs, trace_all
from ..lazy import torch
from ..spec import Experiment, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, fx
    from torch import device as Device

    from ..data import Facts, Sets
    from ..data.batch import Batch
    from ..objectives import Objective, Supervised
    from ..runs.folder import RunFolder
    from ..spec import Train
    from ..trained.evaluate import Loaded
    from ..training.batches.data_part import DataPart
    from ..training.prepared import Prepared

FINAL = "final"
HELD_OUT = ("test", "valid", "train")


@dataclass(frozen=True)
class Subject:
    """A spec, or runs of it, with what analyses ask of them; built by `dlx.analysis.analyze`.

    Nothing is loaded, drawn or imported before it is asked for, so that `Analysis.problems` needs neither torch nor
    data nor what trains: it looks at `experiment`, `graphs` and `facts`.
    """

    experiment: Experiment
    """The spec, or its last stage."""
    graphs: Graphs
    runs: tuple[RunFolder, ...] = ()
    """The runs; empty where a spec is looked at before training."""
    checkpoint: str = FINAL
    """The weights of the runs that are looked at."""
    root: Path | None = None
    """The folder of runs where analyses that train leave theirs; None for a temporary one."""

    notes: list[str] = field(default_factory=list, compare=False)
    """Sentences about the subject that the result takes over."""

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def trained(self) -> bool:
        """Whether it has the weights of a training."""
        return bool(self.runs)

    @property
    def numbers_of_others(self) -> range:
        """The numbers that figures of the second run, and of those after it, end in."""
        return range(2, len(self.runs) + 1)

    @property
    def name(self) -> str:
        """The name of the spec, or of the first run."""
        return self.runs[0].key if self.runs else self.experiment.name

    @property
    def seed(self) -> int:
        """The seed of the spec."""
        return self.experiment.train.seed if self.experiment.train is not None else 0

    @property
    def graph(self) -> Graph:
        """The graph of the one network. DlxError where the spec has several."""
        if self.graphs.is_one:
            return self.graphs.one
        raise DlxError(self.several_networks)

    @property
    def several_networks(self) -> Problem:
        """What is wrong with several networks where an analysis looks at one."""
        names = ", ".join(f"`{name}`" for name in self.graphs)
        message = f"this analysis looks at one `network`, and {self.name} has {names}"
        return Problem(message, "Take a spec of one `network`, or a run of one.")

    def mark(self, *keys: str) -> Mark:
        """Return the place of a section of the spec, for a problem."""
        return self.experiment.place(*keys)

    @cached_property
    def each(self) -> tuple[Subject, ...]:
        """The runs one by one; the subject itself where it is a spec."""
        if len(self.runs) < 2:
            return (self,)
        return tuple(of_run(run, self.checkpoint) for run in self.runs)

    # --- networks ---------------------------------------------------------------------------------------------------

    @cached_property
    def device(self) -> Device:
        from ..training import device

        train = self.experiment.train
        return device.pick(train.device if train is not None else "auto")

    def network(self, seed: int | None = None, run: int = 0, checkpoint: str = "") -> fx.GraphModule:
        """Return the one network in evaluation mode: fresh weights of a seed, or those of a run."""
        self.graph  # noqa: B018  # raises where there are several
        return self.networks(seed, run, checkpoint)["network"]

    def networks(self, seed: int | None = None, run: int = 0, checkpoint: str = "") -> dict[str, fx.GraphModule]:
        """Return all networks by name in evaluation mode, new objects at each call.

        Of a spec they are as `dlx train` draws them from `seed`, by default its own; of runs those of the number
        `run` at a checkpoint. DlxError where the run has none of that name.
        """
        from . import subject_networks

        if self.runs:
            made = subject_networks.of_run(self.runs[run], checkpoint or self.checkpoint, self.graphs, self.device)
        else:
            made = subject_networks.initial(self, self.seed if seed is None else seed)
        if self.device.type != "cpu":  # on a CPU they are there, and looking at each tensor takes time
            made = {name: network.to(self.device) for name, network in made.items()}
        return {name: network.eval() for name, network in made.items()}

    def several(self, seeds: int) -> Iterator[fx.GraphModule]:
        """Yield the one network with the weights of each run, or of `seeds` seeds from that of the spec on."""
        for index in range(len(self.runs) or seeds):
            yield self.network(self.seed + index, min(index, max(len(self.runs) - 1, 0)))

    def count(self, seeds: int) -> int:
        """Return how many networks `several` yields."""
        return len(self.runs) or seeds

    # --- data -------------------------------------------------------------------------------------------------------

    @property
    def has_data(self) -> bool:
        """Whether the spec names data."""
        return self.experiment.data is not None

    @property
    def facts(self) -> Facts:
        """Shapes, fields and classes of the data, before it is loaded. DlxError where the spec names none."""
        if self.experiment.data is None:
            raise DlxError(f"{self.name} names no `data`", hint="Add it to the spec, or override it: `+data=digits`.")
        return self.experiment.data.facts()

    @cached_property
    def _loaded(self) -> Loaded:
        from ..trained.evaluate import job_of_run

        return job_of_run(self.runs[0], self.checkpoint)

    @cached_property
    def prepared(self) -> Prepared:
        """Spec, data and objective of a spec before training; of one without `train`, as one step would have them."""
        from ..spec import Train
        from ..training.prepared import Prepared, loaded

        self.facts  # noqa: B018  # raises where there is no data
        train: Train = self.experiment.train or Train(steps=1)
        experiment = replace(self.experiment, train=train)
        return Prepared.unchecked(experiment, self.graphs, loaded(experiment))

    @property
    def sets(self) -> Sets:
        """The data as it was loaded, with the names of its classes."""
        return self._loaded.sets if self.runs else self.prepared.sets

    @cached_property
    def parts(self) -> dict[str, DataPart]:
        """The parts of the data on the device, by name; images as large as the network takes them."""
        if self.runs:
            return dict(self._loaded.job.parts)
        found = self.prepared.parts()
        if not self.graphs.is_one:
            return found
        from ..training.batches.augmentation import center_crops

        part = found["train"]
        shape = list(self.graph.inputs.values())[part.names.inputs.index(part.main)]
        return center_crops(found, shape.size)

    def part(self, name: str = "") -> DataPart:
        """Return a part: by default test, else valid, else train. DlxError where there is none of that name."""
        chosen = self._part_name(name)
        if chosen in self.parts:
            return self.parts[chosen]
        there = " and ".join(f"`{one}`" for one in self.parts)
        raise DlxError(f"the data of {self.name} has no part `{chosen}`", hint=f"It has {there}.")

    def _part_name(self, name: str) -> str:
        return name or next(known for known in HELD_OUT if known in self.parts)

    def examples(self, count: int, seed: int = 0, part: str = "") -> Batch:
        """Return at most `count` examples of a part as a batch, drawn without repetition: the same at each call.

        Of a spec without data, standard normal inputs of the declared shapes, which a note tells.
        """
        if not self.has_data:
            return self._normal(count, torch.Generator().manual_seed(seed))
        name, index = self.example_indices(count, seed, part)
        return self.part(name).take(index.to(self.device))

    def example_indices(self, count: int, seed: int = 0, part: str = "") -> tuple[str, Tensor]:
        """Return the name of a part, and the numbers there of the examples that `examples` takes (n,)."""
        name = self._part_name(part)
        generator = torch.Generator().manual_seed(seed)
        return name, torch.randperm(len(self.part(name)), generator=generator)[:count]

    def _normal(self, count: int, generator: Any) -> Batch:
        from ..data.batch import Batch, FieldNames

        shapes = self.graph.inputs
        if whole := [name for name, shape in shapes.items() if shape.dtype != "float"]:
            message = f"the input `{whole[0]}` of {self.name} takes whole numbers, and the spec names no `data`"
            raise DlxError(message, hint="Add `data` to the spec.")
        self.note(f"{self.name} names no data: inputs are standard normal")
        made = {name: torch.randn((count, *shape), generator=generator) for name, shape in shapes.items()}
        fields = {name: value.to(self.device) for name, value in made.items()}
        return Batch(fields, {}, FieldNames(tuple(shapes), ()))

    def class_names(self, of: str = "") -> tuple[str, ...]:
        """Return the names of the classes of the first target, or of the field `of`; else their numbers."""
        named, facts = self.sets.names_of_classes, self.facts
        target = of or facts.target_name
        count = facts.fields[target].classes if target in facts.fields else None
        return tuple(named.get(target, ())) or tuple(str(i) for i in range(count or 0))

    def note(self, sentence: str) -> None:
        """Tell something about the subject in the result, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    # --- objective and training -------------------------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The objective as a training has it, with what it takes from the training targets."""
        return self._loaded.job.objective if self.runs else self.prepared.objective

    @property
    def supervised(self) -> Supervised:
        """The objective, where one network learns targets. DlxError for any other."""
        from ..objectives import Supervised

        found = self.objective
        if isinstance(found, Supervised):
            return found
        raise DlxError(f"this analysis is of networks that learn targets, and `{found.kind}` has phases of its own",
                       hint="Take an `objective` with targets, such as `classification`.")  # fmt: skip

    def loss_function(self) -> Callable[[Tensor, Any], Tensor]:
        """Return the loss of outputs (N, ...) and targets, their mean over the batch; without penalties."""
        return self.supervised.loss_function()

    def loss(self, network: fx.GraphModule, batch: Batch) -> Tensor:
        """Return the loss of a network on a batch, a scalar with its graph of gradients."""
        from .loss_at import loss_of_outputs

        return loss_of_outputs(self, batch)(network(*batch.inputs))

    @cached_property
    def study(self) -> Path:
        """The folder of the trainings of an analysis: `root`, else a temporary one that goes with the subject."""
        if self.root is not None:
            return self.root
        folder = Path(tempfile.mkdtemp(prefix="dlx-analysis-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def train(self, *changes: str) -> Subject:
        """Train a variant of the spec, and return it as a subject; its run folder goes when the subject does.

        `changes` are overrides in Hydra's grammar: `train.optimizer.sgd.lr=0.1`, `++network.width=8`. Several
        `train.seeds` give as many runs, packed where dlx packs. SpecError or RunError as of `dlx train`.
        """
        from ..experiment import runner

        folder = Path(tempfile.mkdtemp(prefix="dlx-analysis-"))
        try:
            varied = self.experiment.changed([*changes, "++track={mlflow: false}"])
            results = runner.run(varied, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if any(one.status == "stopped" and not one.notes for one in results.results):
            shutil.rmtree(folder, ignore_errors=True)
            raise KeyboardInterrupt
        made = of_runs([one.run for one in results.results])
        weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
        return made


def of_spec(experiment: Experiment, graphs: Graphs | None = None) -> Subject:
    """Return a spec as a subject, of one with stages the last. SpecError with all mistakes of the spec."""
    traced = graphs or trace_all(experiment)
    return Subject(experiment.last_stage, traced)


def of_run(run: RunFolder, name: str = FINAL) -> Subject:
    """Return a run as a subject. Its data is not asked for before an analysis needs it."""
    return of_runs([run], name)


def of_runs(runs: Sequence[RunFolder], name: str = FINAL) -> Subject:
    """Return runs as a subject, whose spec is that of the first."""
    from ..training.checkpoints import checkpoint

    experiment = load(runs[0].file("spec.yaml"))
    return Subject(experiment.last_stage, checkpoint.graphs_of(runs[0].dir, experiment), tuple(runs), name)


__all__ = ["FINAL", "Subject", "of_run", "of_runs", "of_spec"]
