"""What an objective makes with its trained networks: samples, arithmetic of their latents, and paths between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DlxError, did_you_mean
from ...lazy import np, torch
from ...objectives.base import Sheet
from ...sheets.sheet import Drawing, as_npz
from ...spec import load
from ...training import device, process
from ...training.generation import drawings
from ...training.phased import Phased
from ...utils import option_bounds
from ..evaluate import Loaded, job_of_run
from ..row_files import write_whole
from . import completions, translations

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ...objectives import Caller, Objective
    from ...runs.folder import RunFolder
    from ...training.fit import Job

    Values = npt.NDArray[Any]

COUNT = 16
"""Samples, and steps of a path, where nothing else is said."""
PRINTED = 100
"""Values of a sample that is printed, at most."""
OF_A_CLASS = 1000
"""Examples whose mean latent stands for their class, at most."""
TERM = re.compile(r"\s*(?:(\d+)|\(([\d,\s]+)\)|class\s+([^\s+,()-]+))\s*")


@dataclass(frozen=True)
class Draws:
    """Samples (n, *shape) that the networks of a run have made.

    Attributes:
        names: what each is of, where they are not numbered: the terms of an expression, and the expression itself.
        seeds: seed of each; of what is not made of latents the one seed of all.
        of_class: the class that was asked for.
    """

    run: RunFolder
    values: Values = field(compare=False)
    seeds: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    of_class: str | None = None
    examples: int = 0
    """Examples that were filled in, each as often; 0 where none were given."""
    real: Values | None = field(default=None, compare=False)
    originals: Values | None = field(default=None, compare=False)
    """Examples that were turned into these, one each."""
    to: str | None = None
    """The field that they were turned into."""

    def lines(self) -> list[str]:
        """Return each sample as a line of numbers. DlxError where it has many."""
        shape = self.values.shape[1:]
        if prod(shape) > PRINTED:
            what = "x".join(map(str, shape))
            raise DlxError(f"a sample has the shape {what}", hint="Write them to a file: `--output samples.png`.")
        return [" ".join(f"{float(one):.6g}" for one in row.reshape(-1)) for row in self.values]

    def write(self, path: Path) -> None:
        """Write a sheet to a .png, or the values to an .npz, as `values`."""
        check_output(path)
        if path.suffix == ".npz":
            write_whole(path, as_npz({"values": self.values, "names": np.array(self.names) if self.names else None}))
            return
        drawing = Drawing(self._in_rows(), None, self.real)
        if drawing.suffix != ".png":
            what = "x".join(map(str, self.values.shape[1:]))
            raise DlxError(f"a sample has the shape {what}, and is no picture", hint="Write them to an .npz.")
        write_whole(path, drawing.as_bytes())

    def _in_rows(self) -> Values:
        """Return images (rows, columns, *shape) where they belong together, and all else as it is."""
        if self.originals is not None:
            return in_pairs(self.originals, self.values)
        if self.values.ndim == 4 and (self.names or self.examples):
            return self.values.reshape(self.examples or 1, -1, *self.values.shape[1:])
        return self.values

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx sample --json`."""
        about: dict[str, Any] = {"run": self.run.key, "class": self.of_class, "shape": list(self.values.shape[1:])}
        if self.to is not None:
            about["to"] = self.to
        each: list[dict[str, Any]] = [{"values": _rounded(one)} for one in self.values]
        if len(self.seeds) == len(each):
            each = [{"seed": seed, **one} for seed, one in zip(self.seeds, each, strict=True)]
        elif self.seeds:
            about["seed"] = self.seeds[0]
        if self.examples:
            times = len(each) // self.examples
            each = [{"example": i // times, **one} for i, one in enumerate(each)]
        if self.names:
            each = [{"of": name, **one} for name, one in zip(self.names, each, strict=True)]
        return about | {"samples": each}


def in_pairs(originals: Values, made: Values) -> Values:
    """Return a sheet (rows, columns, *shape) of images with what became of each at its right, the last row filled up
    with zeros; of what are no images the second alone.
    """
    if made.ndim != 4 or originals.shape[1:] != made.shape[1:]:
        return made
    rows = ceil(sqrt(2 * len(made)))
    across = ceil(len(made) / rows)
    pairs = np.zeros((rows * across, 2, *made.shape[1:]), made.dtype)
    pairs[: len(made)] = np.stack([originals, made], 1)
    return pairs[: ceil(len(made) / across) * across].reshape(-1, 2 * across, *made.shape[1:])


def are_made_by(run: RunFolder) -> bool:
    """Whether the objective of a run makes samples of its own, rather than texts or waves token by token."""
    objective = load(run.file("spec.yaml")).last_stage.objective
    return objective is not None and objective.makes_samples


def check_output(path: Path) -> None:
    """Raise DlxError for a file of another kind."""
    if path.suffix not in (".png", ".npz"):
        raise DlxError(f"{path} ends in {path.suffix or 'nothing'}", hint="Samples are written to .png or .npz.")


def draw(
    run: RunFolder,
    n: int | None = None,
    *,
    seed: int = 0,
    of_class: str | int | None = None,
    arithmetic: str | None = None,
    interpolate: str | None = None,
    known: Any = None,
    to: str | None = None,
    name: str | None = None,
    output: Path | None = None,
) -> Draws:
    """Return `n` samples of a run's networks; of its latents sample i is drawn by seed + i, however many there are.

    `arithmetic` is an expression of latents, "3 - 5 + 8": numbers of draws, means of several "(1, 4, 6)", or of the
    examples of a class, "class cat"; the samples of its terms come first, that of the result last. `interpolate` are
    such terms with commas between them: `n` samples on the straight lines from one latent to the next. `known` is a
    file or an array of examples (m, *shape) in which values are missing, NaN: each is filled in `n` times, once by
    default, the i-th time of all by seed + i; `values` has the fillings of the first example first. An objective with
    sides turns the examples `known` of one side into such of the field `to`, one each, and draws nothing.

    Raises:
        DlxError: the objective makes no samples, has no latents or classes, fills in nothing, or `known` has another
            shape or values that no example has; the data of the run is not there.
    """
    _check_options(n, arithmetic, interpolate, known)
    option_bounds.check_seed("--seed", seed, n or COUNT)
    if output is not None:
        check_output(output)
    process.tune()
    with device.threads(run.threads()):
        loaded = job_of_run(run, name or "final")
        maker = _Maker(loaded, seed, of_class, run)
        if maker.objective.sides or to is not None:
            return _translated(loaded, maker.objective, run, known, to, n)
        missing = None if known is None else maker.examples(known)
        terms = _terms(arithmetic or interpolate or "", interpolate is not None)

        def made(_: Objective, call: Caller) -> tuple[Tensor, tuple[str, ...]]:
            if missing is not None:
                return maker.completed(call, missing, n or 1), ()
            if arithmetic is not None:
                return maker.arithmetic(call, terms)
            return maker.path(call, terms, n or COUNT) if interpolate is not None else maker.plain(call, n or COUNT)

        values, names = drawings.without_traces(loaded.job, made)
    beside = drawings.drawing(Sheet(values), drawings.examples_of(loaded.job, drawings.EXAMPLES)).real
    asked = None if of_class is None else str(of_class)
    if missing is not None:
        each_seed = tuple(seed + i for i in range(n or 1)) * len(missing)
        return Draws(run, drawings.as_array(values), each_seed, (), asked, len(missing), beside)
    seeds = tuple(seed + i for i in range(len(values))) if maker.by_latents and not names else (seed,)
    return Draws(run, drawings.as_array(values), seeds, names, asked, 0, beside)


def _check_options(n: int | None, arithmetic: str | None, interpolate: str | None, known: Any) -> None:
    """Raise DlxError for a number of samples that there is not, and for options that are not asked for together."""
    option_bounds.check("--n", n, option_bounds.SAMPLES)
    if arithmetic is not None and interpolate is not None:
        raise DlxError("--arithmetic and --interpolate are two things", hint="Take one of them.")
    if arithmetic is not None and n is not None:
        raise DlxError("--arithmetic makes one sample, and --n asks for several", hint="Leave out --n.")
    if known is not None and (arithmetic is not None or interpolate is not None):
        option = "--arithmetic" if arithmetic is not None else "--interpolate"
        raise DlxError(f"--given and {option} are two things", hint="Take one of them.")
    if interpolate is not None and n == 1:
        raise DlxError("--interpolate goes from one sample to another, and --n is 1", hint="Take 2 or more.")


def _translated(
    loaded: Loaded, objective: Objective, run: RunFolder, known: Any, to: str | None, n: int | None
) -> Draws:
    """Return what examples become on the other side."""
    to = translations.side(objective, to, run)
    of = objective.sides[to]
    if known is None:
        message = f"{objective.kind} makes no samples of noise: it turns examples of `{of}` into such of `{to}`"
        raise DlxError(message, hint="Give some: `--given FILE`; `--to FIELD` says which side.")
    if n is not None:
        raise DlxError("--n is a number of samples, and each example of --given becomes one", hint="Leave out --n.")
    originals, names = translations.examples(known, of, loaded)
    made = drawings.without_traces(loaded.job, lambda own, call: own.translate(call, originals, to))
    part = loaded.job.parts["train"]
    beside = part.take(torch.arange(min(drawings.EXAMPLES, len(part)), device=part.x.device))
    real = drawings.as_array(beside[to])
    values = drawings.as_array(made)
    return Draws(run, values, (), names, None, 0, real, drawings.as_array(originals), to)


@dataclass(frozen=True)
class _Term:
    """A term of an expression: its sign, and the draws or the class whose mean latent it is."""

    sign: int
    text: str
    draws: tuple[int, ...] = ()
    of_class: str = ""


def _terms(text: str, commas: bool) -> list[_Term]:
    """Return the terms of an expression, or of a path. DlxError where it is neither."""
    found, at = list[_Term](), 0
    while at < len(text):
        sign = 1
        if found or (not commas and text[at:].lstrip()[:1] == "-"):
            signs = re.compile(r"\s*(,)" if commas else r"\s*([+-])").match(text, at)
            if signs is None:
                raise _no_expression(text, at, commas)
            sign, at = (-1 if signs[1] == "-" else 1), signs.end()
        term = TERM.match(text, at)
        if term is None:
            raise _no_expression(text, at, commas)
        draws = tuple(int(one) for one in (term[1] or term[2] or "").split(",") if one.strip())
        if not draws and not term[3]:
            raise _no_expression(text, at, commas)
        found.append(_Term(sign, term[0].strip(), draws, term[3] or ""))
        at = term.end()
    return found


def _no_expression(text: str, at: int, commas: bool) -> DlxError:
    option, example = ("--interpolate", "3, 8") if commas else ("--arithmetic", "3 - 5 + 8")
    message = f"{option} {text!r} is none from character {at + 1} on"
    hint = f'Write numbers of samples, "{example}"; means of them, "(1, 4)"; or classes, "class cat".'
    return DlxError(message, hint=hint)


class _Maker:
    """Makes samples of a loaded run."""

    def __init__(self, loaded: Loaded, seed: int, of_class: str | int | None, run: RunFolder) -> None:
        self.job: Job = loaded.job
        learner = loaded.job.learner
        assert isinstance(learner, Phased), "only those make samples"
        self.objective = learner.evaluated
        self.names = loaded.sets.names_of_classes
        self.fields, self.seed, self.run = loaded.source.facts().fields, seed, run
        self.of_class = None
        if of_class is not None:
            if self.objective.condition is None:
                raise DlxError(
                    f"the networks of {run.key} take no class", hint="Leave out --class, or give the generator one."
                )
            self.of_class = self._number(str(of_class), self.objective.condition)

    @property
    def by_latents(self) -> bool:
        """Whether samples are made of latents."""
        return self.objective.latents(1, torch.Generator().manual_seed(self.seed)) is not None

    def plain(self, call: Caller, n: int) -> tuple[Tensor, tuple[str, ...]]:
        condition = self._condition(n)
        if self.by_latents:
            return self.objective.generate(call, self._latents(range(n)), condition), ()
        found = self.objective.sample(call, n, torch.Generator().manual_seed(self.seed), condition)
        if found is None:
            raise DlxError(f"{self.objective.kind} makes no samples", hint="`train.samples` draws its pictures.")
        return found, ()

    def examples(self, known: Any) -> Tensor:
        """Return examples whose missing values are NaN. DlxError where the objective cannot fill them in."""
        if not self.objective.completes:
            message = f"{self.objective.kind} fills in no missing values"
            raise DlxError(message, hint="Leave out --given; `objective: autoregressive` does.")
        if self.objective.condition is not None and self.of_class is None:
            message = f"the network of {self.run.key} takes a class, and --given alone tells none"
            raise DlxError(message, hint="Say which: `--class NAME`.")
        return completions.examples(known, self.fields[getattr(self.objective, "field", "input")].shape)

    def completed(self, call: Caller, known: Tensor, n: int) -> Tensor:
        """Return each example filled in `n` times, (m * n, *shape)."""
        condition = self._condition(len(known))
        rngs = [torch.Generator().manual_seed(self.seed + i) for i in range(n)]
        return torch.stack([self.objective.complete(call, known, rng, condition) for rng in rngs], 1).flatten(0, 1)

    def arithmetic(self, call: Caller, terms: Sequence[_Term]) -> tuple[Tensor, tuple[str, ...]]:
        if not terms:
            raise _no_expression("", 0, commas=False)
        each = torch.stack([self._latent(call, one) for one in terms])
        signs = torch.tensor([one.sign for one in terms]).view(-1, *(1 for _ in each.shape[1:]))
        result = (each * signs.to(each.device)).sum(0, keepdim=True)
        texts = [one.text for one in terms]
        whole = "".join(f" {'-' if one.sign < 0 else '+'} {one.text}" for one in terms).removeprefix(" + ").strip()
        made = self.objective.generate(call, torch.cat([each, result]), self._condition(len(each) + 1))
        return made, (*texts, whole)

    def path(self, call: Caller, terms: Sequence[_Term], n: int) -> tuple[Tensor, tuple[str, ...]]:
        if len(terms) < 2:
            raise DlxError("--interpolate takes two samples or more", hint='Write `--interpolate "3, 8"`.')
        each = torch.stack([self._latent(call, one) for one in terms])
        place = torch.linspace(0, len(terms) - 1, n)
        before = place.floor().long().clamp_max(len(terms) - 2)
        share = (place - before).view(-1, *(1 for _ in each.shape[1:])).to(each.device)
        latents = each[before] * (1 - share) + each[before + 1] * share
        names = tuple(f"{float(one):.6g}" for one in place)
        return self.objective.generate(call, latents, self._condition(n)), names

    def _latents(self, numbers: Sequence[int] | range) -> Tensor:
        each = [self.objective.latents(1, torch.Generator().manual_seed(self.seed + i)) for i in numbers]
        found = [one for one in each if one is not None]
        if not found:
            message = f"{self.objective.kind} makes its samples of no latents"
            raise DlxError(message, hint="Leave out --arithmetic and --interpolate.")
        return torch.cat(found)

    def _latent(self, call: Caller, term: _Term) -> Tensor:
        """Return the latent that a term stands for."""
        return self._latents(term.draws).mean(0) if term.draws else self._mean_of_class(call, term.of_class)

    def _mean_of_class(self, call: Caller, name: str) -> Tensor:
        target = self.objective.condition or next(
            (one for one, of in self.fields.items() if of.role == "target" and of.classes is not None), None
        )
        if target is None:
            raise DlxError(f"the data of {self.run.key} has no classes", hint="Take numbers of samples.")
        number, count = self._number(name, target), 0
        found: list[Tensor] = []
        for batch in self.job.learner.feed.evaluation(self.job.parts["train"], OF_A_CLASS):
            latents = self.objective.latents_of(call, batch)
            if latents is None:
                message = f"{self.objective.kind} tells no latents of examples, so that a class has none"
                raise DlxError(message, hint="Take numbers of samples.")
            found.append(latents[batch[target] == number])
            count += len(found[-1])
            if count >= OF_A_CLASS:
                break
        if not count:
            raise DlxError(f"no example of the training part is of the class {name}")
        return torch.cat(found).mean(0)

    def _condition(self, n: int) -> Tensor | None:
        return None if self.of_class is None else torch.full((n,), self.of_class)

    def _number(self, name: str, target: str) -> int:
        """Return the number of a class by its name or number. DlxError where there is none."""
        names = [str(one) for one in self.names.get(target, ())] or list(self.fields[target].names)
        classes = self.fields[target].classes or len(names)
        if name in names:
            return names.index(name)
        if name.isdigit() and int(name) < classes:
            return int(name)
        hint = did_you_mean(name, names, "the classes") if names else f"They are 0 to {classes - 1}."
        raise DlxError(f"{self.run.key} has {classes:,} classes, and none is {name}", hint=hint)


def _rounded(values: Values) -> Any:
    return np.round(values.astype(np.float64), 6).tolist()
