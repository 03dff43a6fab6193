"""Batch norm with a shift of its outputs put in after it, against batch norm as it is and none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec import missing_sections
from ...spec.analyses import Analysis
from ..measures.over_seeds import over_seeds
from ..result import Bars, Lines, Panel, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ...training.fit import Job
    from ..subject import Subject

WAYS = {"plain": "without batch norm", "norm": "batch norm", "shifted": "batch norm and a shift"}
"""The ways to train, with their names in a figure."""
KINDS = ("batch_norm",)
POINTS = 40
"""Points of a curve, each the mean of consecutive losses."""
LAST = 0.1
"""Part of the steps whose mean loss is a figure."""


class CovariateShift(Analysis):
    """Train with batch norm, without it, and with a shift put in after it that changes with every step.

    The shift: of each batch-norm layer, unit and step a mean m from -`shift` to `shift` and a scale s from 1 to
    `scale`, both uniform; of each example its own, m + `jitter` u and s + `jitter` n, u uniform from -1 to 1 and n
    standard normal; the output y becomes s y + m. Evaluation has none. Without batch norm its layers pass on their
    input.
    `loss_plain`, `loss_norm`, `loss_shifted` are mean training losses of the last tenth of the steps;
    `shifted_to_plain` is the ratio of the last to the first. `drift_*` is how far the distribution of those layers'
    outputs moves: the standard deviation over the steps of a unit's batch mean, by its standard deviation within the
    batch, averaged over units and layers; `drift_ratio` is that of shifted by that of norm.
    Books: the shifted network trains faster than the one without batch norm although its activations drift far more
    than with batch norm as it is: that they drift less is not what batch norm helps by.
    """

    kind: ClassVar[str] = "covariate_shift"
    source: ClassVar[str] = (
        "Santurkar et al. 2018, arXiv:1805.11604, section 2.2, figure 2 and appendix A.2; Prince 2023, Understanding "
        "Deep Learning, section 11.4"
    )
    example: ClassVar[str] = "dlx analyze covariate_shift zoo/covariate-shift"
    figures: ClassVar[tuple[str, ...]] = (
        "loss_plain",
        "loss_norm",
        "loss_shifted",
        "drift_plain",
        "drift_norm",
        "drift_shifted",
        "shifted_to_plain",
        "drift_ratio",
    )
    trains: ClassVar[bool] = True
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"

    steps: PositiveInt = Field(200, ge=POINTS, description="updates of each training")
    seeds: PositiveInt = Field(3, description="trainings of each way")
    shift: NonNegativeFloat = Field(0.5, description="largest mean that is added, in standard deviations")
    scale: float = Field(1.25, ge=1, description="largest factor")
    jitter: NonNegativeFloat = Field(0.1, description="how far the examples of a step differ in both")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is nothing to compare: no data, or no batch norm."""
        found = missing_sections(subject.experiment, "data", "train")
        if not self.layers(subject):
            hint = "Add one: `batch_norm`."
            found.append(Problem(f"{subject.name} has no layer of batch norm", hint))
        return found

    def layers(self, subject: Subject) -> list[str]:
        """Return the names of the modules of batch norm."""
        return [node.name.replace("/", ".") for node in subject.graph.nodes if node.kind in KINDS]

    def run(self, subject: Subject) -> Result:
        """Train the three ways from the same weights on the same batches."""
        trained = {way: [self._trained(subject, way, i) for i in range(self.seeds)] for way in WAYS}
        last = max(1, round(LAST * self.steps))
        losses = {way: float(np.mean([one.losses[-last:].mean() for one in each])) for way, each in trained.items()}
        drifts = {way: np.array([one.drifts() for one in each]) for way, each in trained.items()}
        figures: dict[str, Any] = {f"loss_{way}": loss for way, loss in losses.items()}
        figures |= {f"drift_{way}": float(one.mean()) for way, one in drifts.items()}
        figures |= {
            "shifted_to_plain": losses["shifted"] / losses["plain"],
            "drift_ratio": figures["drift_shifted"] / figures["drift_norm"],
        }
        names = self.layers(subject)
        curves = tuple(_curve(WAYS[way], [one.losses for one in each]) for way, each in trained.items())
        bars = tuple(Bars(WAYS[way], names, *over_seeds(one)) for way, one in drifts.items())
        panels = (
            Panel("training", "step", "training loss, mean over the seeds", curves, y_scale="log"),
            Panel("drift of the means", "layer of batch norm", "standard deviations", bars),
        )
        rows = [[WAYS[way], losses[way], figures[f"drift_{way}"]] for way in WAYS]
        return Result(figures, panels, (("way", "last training loss", "drift"), rows), seeds=self.seeds)

    def _trained(self, subject: Subject, way: str, number: int) -> Watched:
        """Return the losses and the outputs of one training."""
        from ...experiment.session import job_of
        from ...training import device
        from ...training.fit import updates

        prepared = subject.prepared
        seed = prepared.train.seed + number
        changes = {"steps": self.steps, "epochs": None, "seeds": 1, "seed": seed, "trace": False}
        job = job_of(replace(prepared, train=prepared.train.model_copy(update=changes)))
        generator = torch.Generator().manual_seed(seed)
        watched, recorded = Watched(), list["Tensor"]()
        with (
            device.threads(prepared.threads),
            watched.of(job, self.layers(subject), self._change(way, generator)),
        ):
            for _ in updates(job, recorded):
                pass
        watched.losses = torch.stack(recorded).detach().cpu().double().numpy()
        return watched

    def _change(self, way: str, generator: torch.Generator) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
        """Return what becomes of the input and the output of a layer of batch norm."""

        def change(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            if way == "plain":  # its weights have gradients of zero, which optimizers of all kinds take
                return x + 0 * y
            return self._shifted(y, generator) if way == "shifted" and module.training else y

        return change

    def _shifted(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return an output (N, C, ...) with a shift and a scale by unit and example."""
        units, examples = y.shape[1], len(y)

        def uniform(*size: int) -> Tensor:
            return 2 * torch.rand(size, generator=generator) - 1

        mean = self.shift * uniform(1, units) + self.jitter * uniform(examples, units)
        scale = 1 + (self.scale - 1) * torch.rand((1, units), generator=generator)
        scale = scale + self.jitter * torch.randn((examples, units), generator=generator)
        shape = (examples, units, *[1] * (y.dim() - 2))
        return y * scale.to(y).reshape(shape) + mean.to(y).reshape(shape)


@dataclass
class Watched:
    """Losses (steps,) of a training, and the mean and variance of each unit of some layers in each step."""

    losses: Any = None
    means: dict[str, list[Tensor]] = field(default_factory=dict)
    variances: dict[str, list[Tensor]] = field(default_factory=dict)

    @contextmanager
    def of(self, job: Job, names: list[str], change: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Iterator[None]:
        """Change the outputs of layers while a job trains, and take their statistics."""
        with ExitStack() as stack:
            for name in names:
                hook = job.network.get_submodule(name).register_forward_hook(self._hook(name, change))
                stack.callback(hook.remove)
            yield

    def _hook(self, name: str, change: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Any:
        means, variances = self.means.setdefault(name, []), self.variances.setdefault(name, [])

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            changed = change(module, inputs[0], output)
            if module.training:
                units = changed.detach().transpose(0, 1).flatten(1)
                means.append(units.mean(1))
                variances.append(units.var(1))
            return changed

        return hook

    def drifts(self) -> list[float]:
        """Return the drift of each layer: the deviation of the batch means by the deviation within batches."""
        found = []
        for name, means in self.means.items():
            moved = torch.stack(means).double().std(0)
            within = torch.stack(self.variances[name]).double().mean(0).sqrt()
            found.append(float((moved / within.clamp_min(1e-12)).mean()))
        return found


def _curve(label: str, losses: list[Any]) -> Lines:
    """Return a curve of means of consecutive losses."""
    size = max(1, len(losses[0]) // POINTS)
    count = len(losses[0]) // size
    values = [one[: count * size].reshape(count, size).mean(1) for one in losses]
    return Lines(label, np.arange(1, count + 1) * size, np.mean(values, axis=0))
