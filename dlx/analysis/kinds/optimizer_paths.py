"""Paths of several optimizers over the loss of two weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...optim import OPTIMIZERS, Optimizer
from ...registry import Choice
from ...spec import missing_sections
from ...spec.analyses import Analysis, Words
from ..measures import curvature
from ..measures.weight_space import trained_weights
from ..result import Heat, Lines, Mark, Panel, Points, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ...training.fit import Job
    from ..subject import Subject

    Array = npt.NDArray[Any]

FAR = 1e6
"""Size of a weight beyond which a path has diverged."""
NEWTON = 20
"""Steps of Newton from the lowest point that was seen to the minimum."""
MARGIN = 0.15
"""Part of the window on each side of the paths."""
USUAL: dict[str, dict[str, Any]] = {
    "sgd": {"sgd": {}},
    "momentum": {"sgd": {"momentum": 0.9}},
    "nesterov": {"sgd": {"momentum": 0.9, "nesterov": True}},
    "rmsprop": {"rmsprop": {}},
    "adam": {"adam": {}},
}
"""The optimizers of the book, by the names that figures have."""


class OptimizerPaths(Analysis):
    """Train a network of two weights by several optimizers from one start, and draw their paths over the loss.

    The loss is that of the whole training part, with its penalties, on a grid around the paths; steps are those of
    the spec's `batch_size`. Of an optimizer called NAME: `NAME_loss` is the excess of the last loss over the minimum,
    `NAME_steps` the first step from which on it is below `within` of that at the start (absent where it never is),
    `NAME_length` the length of the path, and `NAME_turns` how often it turns back along the steepest direction;
    `NAME_diverged` is true where a weight passes 1e6. `condition_number` is the ratio of the eigenvalues of the
    Hessian at the minimum, `minimum` the loss there.
    Books: where the condition number is large, SGD zigzags across the valley and creeps along it; momentum damps the
    zigzag and overshoots; RMSProp and Adam go straighter. On a quadratic, SGD is w_t = w* +
    (1 - rate H)^t (w_0 - w*).
    """

    kind: ClassVar[str] = "optimizer_paths"
    source: ClassVar[str] = "CS231n notes, section 7.1, figures 7.1.1 and 7.1.5 to 7.1.8"
    example: ClassVar[str] = "dlx analyze optimizer_paths zoo/valley"
    figures: ClassVar[tuple[str, ...]] = (
        "minimum",
        "condition_number",
        "NAME_loss",
        "NAME_length",
        "NAME_turns",
        "NAME_steps",
        "NAME_diverged",
    )
    trains: ClassVar[bool] = True
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"

    optimizers: Annotated[dict[str, Optimizer], Choice(OPTIMIZERS)] = Field(
        {}, description="optimizers by a name each; by default sgd, momentum, nesterov, rmsprop and adam at `lr`"
    )
    lr: PositiveFloat | None = Field(None, description="rate of the default ones; by default that of the spec")
    steps: PositiveInt = Field(50, description="updates of each")
    start: list[float] | None = Field(
        None, min_length=2, max_length=2, description="both weights before training; by default as drawn"
    )
    within: PositiveFloat = Field(0.01, lt=1, description="part of the first excess loss that counts as arrived")
    grid: PositiveInt = Field(41, ge=5, le=201, description="points of the contour on each axis")

    def chosen(self, subject: Subject) -> dict[str, Optimizer]:
        """Return the optimizers by name."""
        if self.optimizers:
            return self.optimizers
        train = subject.experiment.train
        rate = self.lr or (getattr(train.optimizer, "lr", None) if train is not None else None) or 0.1
        each = {name: next(iter(one.items())) for name, one in USUAL.items()}
        return {name: OPTIMIZERS[kind].model_validate({"lr": rate, **more}) for name, (kind, more) in each.items()}

    def words(self, subject: Subject) -> Words:
        return {"NAME": list(self.chosen(subject))}

    def without_effect(self) -> dict[str, str]:
        return {"lr": "beside `optimizers`, which have rates of their own"} if self.optimizers else {}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no contour: no data, or other than two weights."""
        found = missing_sections(subject.experiment, "data", "train")
        count = subject.graphs.trainable
        if count != 2:
            hint = "`freeze` the others, or take `bias: false`."
            found.append(Problem(f"a contour has two axes, and {subject.name} trains {count:,} weights", hint))
        return found

    def run(self, subject: Subject) -> Result:
        """Take the steps of each optimizer, then evaluate the loss around them."""
        chosen = self.chosen(subject)
        paths = {name: self._path(subject, one) for name, one in chosen.items()}
        job = self._job(subject, next(iter(chosen.values())))
        surface = Surface(job)
        losses = {name: np.array([surface(w) for w in path]) for name, path in paths.items()}
        lowest = min((path[int(np.nanargmin(losses[name]))] for name, path in paths.items()), key=surface)
        minimum, hessian = surface.minimum(lowest)
        values, vectors = np.linalg.eigh(hessian)
        bottom = min(surface(minimum), *(float(np.nanmin(one)) for one in losses.values()))
        figures: dict[str, Any] = {"minimum": bottom}
        if values[0] > 0:
            figures["condition_number"] = float(values[1] / values[0])
        rows = []
        for name, path in paths.items():
            mine = self._figures(path, losses[name] - bottom, vectors[:, 1])
            figures |= {f"{name}_{key}": value for key, value in mine.items()}
            rows.append([name, mine["loss"], mine.get("steps"), mine["length"], mine["turns"]])
        titles = ("optimizer", "excess loss", f"steps to {self.within:g} of the start", "length", "turns")
        return Result(figures, (self._panel(surface, paths, minimum, job),), (titles, rows))

    def _job(self, subject: Subject, optimizer: Optimizer) -> Job:
        """Return a training from the start by an optimizer."""
        from ...experiment.session import job_of

        prepared = subject.prepared
        changes = {"optimizer": optimizer, "steps": self.steps, "epochs": None, "evaluate_every": None, "seeds": 1}
        train = prepared.train.model_copy(update=changes)
        job = job_of(replace(prepared, train=train))
        if self.start is not None:
            put(job, np.array(self.start))
        return job

    def _path(self, subject: Subject, optimizer: Optimizer) -> Array:
        """Return the weights before each step and after the last, (steps + 1, 2), up to where they diverge."""
        from ...training.fit import updates

        job = self._job(subject, optimizer)
        found, recorded = [weights(job)], list["Tensor"]()
        for _ in updates(job, recorded):
            found.append(weights(job))
            if not np.isfinite(found[-1]).all() or np.abs(found[-1]).max() > FAR:
                return np.array(found[:-1])
        return np.array(found)

    def _figures(self, path: Array, excess: Array, steepest: Array) -> dict[str, Any]:
        """Return the figures of one path."""
        moves = np.diff(path, axis=0)
        across = moves @ steepest
        bound = self.within * excess[0]
        late = np.flatnonzero(excess > bound)
        first = 0 if len(late) == 0 else int(late[-1]) + 1
        found: dict[str, Any] = {
            "loss": float(excess[-1]),
            "length": float(np.linalg.norm(moves, axis=1).sum()),
            "turns": int((across[1:] * across[:-1] < 0).sum()),
        }
        if first < len(excess):
            found["steps"] = first
        if len(path) <= self.steps:
            found["diverged"] = True
        return found

    def _panel(self, surface: Surface, paths: dict[str, Array], minimum: Array, job: Job) -> Panel:
        """Draw the paths over the contours of the loss."""
        ended = [path for path in paths.values() if len(path) > self.steps] or [path[:2] for path in paths.values()]
        points = np.concatenate([*ended, minimum[None]])
        low, high = points.min(0), points.max(0)
        pad = MARGIN * np.maximum(high - low, 1e-3)
        x, y = (np.linspace(low[i] - pad[i], high[i] + pad[i], self.grid) for i in (0, 1))
        heights = np.array([[surface(np.array([a, b])) for a in x] for b in y])
        marks: list[Mark] = [Heat(x, y, heights, contours=True, label="loss")]
        for name, path in paths.items():
            inside = path if len(path) > self.steps else path[:2]
            marks.append(Lines(name, inside[:, 0], inside[:, 1]))
        start = next(iter(paths.values()))[0]
        marks += [Points("start", start[:1], start[1:]), Points("minimum", minimum[:1], minimum[1:])]
        first, second = names_of(job)
        return Panel("paths of optimizers", first, second, tuple(marks))


def weights(job: Job) -> Array:
    """Return the two weights that a job trains, in double precision."""
    return np.concatenate([p.detach().cpu().double().reshape(-1).numpy() for p in trained_weights(job.network)])


def put(job: Job, values: Array) -> None:
    """Set the two weights."""
    place = 0
    with torch.no_grad():
        for p in trained_weights(job.network):
            own = torch.as_tensor(values[place : place + p.numel()], dtype=p.dtype).reshape(p.shape)
            p.copy_(own)
            place += p.numel()


def names_of(job: Job) -> list[str]:
    """Return the names of the two weights."""
    found = []
    for name, p in job.network.named_parameters():
        if p.requires_grad:
            found += [name] if p.numel() == 1 else [f"{name}[{i}]" for i in range(p.numel())]
    return found


@dataclass(frozen=True)
class Surface:
    """The training loss of a job as a function of its two weights."""

    job: Job

    def __call__(self, at: Array) -> float:
        """Return the loss at two weights."""
        put(self.job, at)
        with torch.no_grad():
            return float(self.loss())

    @cached_property
    def loss(self) -> Callable[[], Tensor]:
        """The loss of the whole training part, with penalties, at the weights that are set."""
        objective, part = self.job.supervised.objective, self.job.parts["train"]
        batch, network = part.batch(part.fields), self.job.network
        loss, penalty = objective.loss_function(), objective.penalty(self.job.network)

        def evaluated() -> Tensor:
            found = loss(objective.main(network(*batch.inputs)), objective.target(batch))
            return found if penalty is None else found + penalty()

        return evaluated

    def minimum(self, start: Array) -> tuple[Array, Array]:
        """Return the minimum by steps of Newton while the loss falls, and the Hessian (2, 2) there."""
        at, lowest = start, self(start)
        for _ in range(NEWTON):
            gradient, hessian = self.curvature(at)
            if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 0:
                break
            tried = at - np.linalg.solve(hessian, gradient)
            height = self(tried)
            if not math.isfinite(height) or height >= lowest:
                break
            at, lowest = tried, height
        return at, self.curvature(at)[1]

    def curvature(self, at: Array) -> tuple[Array, Array]:
        """Return gradient (2,) and Hessian (2, 2) of the loss."""
        put(self.job, at)
        both = trained_weights(self.job.network)
        gradient = curvature.flat_gradient(self.loss, both).detach().double().numpy(force=True)
        return gradient, curvature.whole_hessian(curvature.hessian_product(self.loss, both), 2)
