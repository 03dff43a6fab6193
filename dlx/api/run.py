"""A training that has ended, failed or goes on: its figures, spec, weights and model, read from its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claims import verify as claims
from ..errors import DlxError
from ..experiment import ensemble
from ..experiment.results import Results
from ..graph import trace_all
from ..graph.expect import of_results
from ..runs.folder import RunFolder
from ..show import html
from ..spec import Experiment, load
from ..trained.evaluate import weights_of
from . import frames
from .isolation import TURN, isolated

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor, nn

FINAL = "final"
"""The checkpoint of the weights that a training ends with."""


class Run:
    """A run folder to read from. Nothing here changes it, and a run that goes on is read as far as it is.

    `dlx.train`, `dlx.resume` and `dlx.open_run` return one. Of an ensemble, `runs` are its members.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = RunFolder(Path(folder))

    @property
    def folder(self) -> Path:
        """The folder with all of it: `docs/architecture.md` lists its files."""
        return self._folder.dir

    @property
    def key(self) -> str:
        """`name/id`, as the commands and MLflow call it."""
        return self._folder.key

    @property
    def status(self) -> str:
        """`finished`, `stopped`, `failed`, `running`, or `died` where its process was killed."""
        return self._folder.status()

    @property
    def message(self) -> str:
        """Reason of a failure, a stop or an early end; else empty."""
        return str((self._folder.end() or {}).get("message", ""))

    @cached_property
    def spec(self) -> Experiment:
        """The spec that was trained, all of it resolved."""
        with TURN:
            return load(self._folder.file("spec.yaml"))

    @property
    def seed(self) -> int | None:
        """Seed of weights, order and noise; None for a run that failed before it wrote its lock."""
        seed = self._folder.lock().get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def lock(self) -> dict[str, Any]:
        """Dependencies of the result beside the spec: versions, device, threads, commit, digest of the data."""
        return self._folder.lock()

    @property
    def metrics(self) -> DataFrame:
        """The curves: a row for each step with a measurement, NaN for metrics without one at that step.

        Index: `step`, in updates. Columns: `epoch`, counted from 1; `seconds` since the start; then each metric.
        """
        return frames.curves(self._folder)

    @property
    def result(self) -> dict[str, float]:
        """The metrics of the final weights, `test/accuracy` among them; empty until it has ended."""
        end = self._folder.end()
        return dict(end["metrics"]) if end is not None else {}

    @property
    def intervals(self) -> dict[str, float]:
        """Half the 95 % confidence interval of each metric's mean over several seeds; empty for one."""
        return {}

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of several seeds, or the members of an ensemble; else this run alone."""
        return tuple(Run(member.dir) for member in ensemble.members_in(self._folder)) or (self,)

    @property
    def receipts(self) -> DataFrame:
        """The claims under `expect` and their verdicts, as `dlx verify` has them. Index: `claim`.

        Columns: `source`, `claimed` in words, `ours`, `verdict` (`holds`, `book wrong`, `FAILS`, `not run`), `why`.
        """
        with isolated():
            known = claims.receipts_of(self.spec, trace_all(self.spec))
        judged = {r.claim.path: r for r in of_results(self.spec, self.result)} if self.result else {}
        return frames.receipts([judged.get(one.claim.path, one) for one in known if one.claim.is_receipt])

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The names of its checkpoints: `final`, `best-1`, `step-1200`, `snapshot-1`, `stopped`."""
        folder = self.folder / "checkpoints"
        return tuple(sorted(path.stem for path in folder.glob("*.safetensors") if not path.name.startswith(".")))

    @cached_property
    def model(self) -> nn.Module:
        """The network with its final weights, on the CPU, in evaluation mode; see `load_model`."""
        return self.load_model()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The final weights and buffers by torch's names; see `load_weights`."""
        return self.load_weights()

    def load_model(self, checkpoint: str = FINAL) -> nn.Module:
        """A new network with the weights of a checkpoint, on the CPU, in evaluation mode.

        It takes inputs with the batch first, preprocessed as those of the training were (`dlx.predict` does that),
        and gives the output, or a dict of several. Of a spec with `networks`, an `nn.ModuleDict` of them by name. The
        data need not be there. DlxError where there is no such checkpoint, or it is damaged.
        """
        self._refuse_several("model")
        weights_of(self._folder, checkpoint)
        with isolated():
            from torch.nn import ModuleDict

            from ..training.checkpoints.checkpoint import restore_all

            networks = {name: network for name, (network, _) in restore_all(self.folder, checkpoint).items()}
        return ModuleDict(networks) if self.spec.networks else networks["network"]

    def load_weights(self, checkpoint: str = FINAL) -> dict[str, Tensor]:
        """The weights and buffers of a checkpoint by torch's names, as `model.state_dict()` has them.

        DlxError where there is no such checkpoint, or it is damaged.
        """
        from ..training.checkpoints.checkpoint import read

        self._refuse_several("weights")
        _, tensors = read(weights_of(self._folder, checkpoint), checkpoint)
        return {name: tensor for name, tensor in tensors.items() if not name.startswith("state/")}

    def _refuse_several(self, asked: str) -> None:
        """DlxError for an ensemble, whose members have weights."""
        if count := len(self._folder.members()):
            hint = f"`run.runs[0].{asked}` is that of the first; `dlx.predict` and `dlx.evaluate` combine them."
            raise DlxError(f"{self.key} is an ensemble of {count} networks, each with {asked} of its own", hint=hint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.paths == other.paths

    def __hash__(self) -> int:
        return hash(self.paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The absolute paths of its folders: two objects of one run are equal."""
        return (self._folder.dir.absolute(),)

    def __repr__(self) -> str:
        return f"<dlx.Run {self.key}: {', '.join([self.status, *_shown(self.result)])}>"

    def _repr_html_(self) -> str:
        title, facts = f"{self.key} ({self.status})", {"seed": self.seed, "message": self.message}
        return html.facts(title, {k: v for k, v in facts.items() if v not in {None, ""}} | html.figures(self.result))


class SeedRuns(Run):
    """The runs of one spec that differ in their seeds. Figures are means over them; each has a folder of its own."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._runs = tuple(Run(result.run.dir) for result in results.results)
        super().__init__(results.results[0].run.dir)

    @property
    def folder(self) -> Path:
        """DlxError: each seed has a folder of its own."""
        raise self._of_each("folder")

    @property
    def key(self) -> str:
        """The name of the spec, and how many seeds."""
        return f"{self._folder.name} ({len(self._runs)} seeds)"

    @property
    def status(self) -> str:
        """`finished`, or the status of the first that has not."""
        return next((run.status for run in self._runs if run.status != "finished"), "finished")

    @property
    def seed(self) -> None:
        """None: there are several."""

    @property
    def lock(self) -> dict[str, Any]:
        """DlxError: each seed has a lock of its own."""
        raise self._of_each("lock")

    @property
    def metrics(self) -> DataFrame:
        """The curves of all seeds under each other, as of one run. Index: `seed`, `step`."""
        return frames.beside({result.seed: frames.curves(result.run) for result in self._results.results})

    @property
    def result(self) -> dict[str, float]:
        """The mean over the seeds of each metric of the final weights."""
        return self._results.metrics

    @property
    def intervals(self) -> dict[str, float]:
        """Half the 95 % confidence interval of each mean (Student's t)."""
        return self._results.intervals

    @property
    def runs(self) -> tuple[Run, ...]:
        """The run of each seed, in the order of the seeds."""
        return self._runs

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """DlxError: each seed has checkpoints of its own."""
        raise self._of_each("checkpoints")

    @property
    def paths(self) -> tuple[Path, ...]:
        """The absolute paths of the folders of all seeds."""
        return tuple(run.folder.absolute() for run in self._runs)

    def _refuse_several(self, asked: str) -> None:
        raise self._of_each(asked)

    def _of_each(self, asked: str) -> DlxError:
        hint = f"`run.runs[0].{asked}` is that of the first; `dlx.evaluate(run.runs)` combines them."
        return DlxError(f"{len(self._runs)} seeds were trained, each with {asked} of its own", hint=hint)

    def _repr_html_(self) -> str:
        means, half = self.result, self.intervals
        rows = [(name, html.figure(v), html.figure(half[name]) if name in half else "") for name, v in means.items()]
        return html.table(("metric", "mean", "± 95 %"), rows, f"{self.key} ({self.status})")


def _shown(metrics: Mapping[str, float]) -> Sequence[str]:
    """The figures that say most, in a few words."""
    first = [name for name in metrics if name.startswith(("test/", "valid/"))] or list(metrics)
    return [f"{name} {metrics[name]:.4g}" for name in first[:2]]
