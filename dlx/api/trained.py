"""`dlx.open_run`, `dlx.evaluate`, `dlx.predict` and `dlx.sample`: trained networks and their use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..data import python_inputs
from ..errors import DlxError, plural
from ..runs.folder import RunFolder
from ..show import html
from ..trained import evaluate as evaluations
from ..trained import predict as predictions
from ..trained.closer import Closer
from ..trained.evaluate import Evaluated
from ..trained.predict import Predicted
from ..trained.sampling import draws as drawing
from ..trained.sampling.asked import Asked, made_by
from ..trained.sampling.sample import Sampled
from ..trained.slices import slice_table
from ..trained.worst import joined
from ..training.generation.decoding import Decoding
from . import frames
from .arguments import AnyRun, check_choice, override_texts, path_of, run_folder
from .isolation import isolated
from .run import Run, SeedRuns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame
    from torch import Tensor

Combine = Literal["average", "vote", "unanimous"]


class Evaluation(Evaluated):
    """Metrics of a run, or of several alone and together: `metrics` by name, `members` with those of each."""

    @property
    def frame(self) -> DataFrame:
        """A row for each network. Index: `run`, its key. Columns: the metrics."""
        names = list(self.members[0].metrics)
        rows = [[one.run.key, *(one.metrics.get(name) for name in names)] for one in self.members]
        return frames.table(["run", *names], rows, index="run")

    @property
    def worst(self) -> DataFrame:
        """A row for each of the worst examples. Columns: `part`, `input`, `loss`, what is true and predicted."""
        return frames.table(*joined(self.wrong))

    @property
    def by_value(self) -> DataFrame:
        """A row for each slice. Columns: `part`, the column, `examples`, the metrics, and the ends of intervals."""
        return frames.table(*slice_table(str(self.by), self.slices))

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"<dlx.Evaluation of {' and '.join(one.run.key for one in self.members)}: {figures}>"

    def _repr_html_(self) -> str:
        caption = " and ".join(one.run.key for one in self.members)
        return html.table(("metric", ">value"), html.figures(self.metrics).items(), caption, self.notes)


class Predictions(Predicted):
    """An answer for each input: arrays `classes`, `probabilities`, `values` or `boxes`, and all as a `frame`."""

    @property
    def frame(self) -> DataFrame:
        """A row for each input, or for each box. Index: `input`, its name or number.

        Columns: `class` and `p(NAME)` for each class, or a column for each value, or `class`, `score` and the edges
        of a box. DlxError where an answer has several positions, as in segmentation: `classes` or `values` has them.
        """
        if not self.in_rows:
            has = " and ".join(f"`{name}`" for name in self.arrays)
            raise DlxError("each answer has several positions, which are no row of a table", hint=f"Take {has}.")
        titles, rows = self.rows()
        return frames.table(titles, rows, index="input")

    def __repr__(self) -> str:
        return f"<dlx.Predictions of {self.run.key} for {len(self):,} inputs: {', '.join(self.arrays)}>"

    def _repr_html_(self) -> str:
        if not self.in_rows:
            return html.facts(self.run.key, {name: f"array {array.shape}" for name, array in self.arrays.items()})
        titles, rows = self.rows()
        shown = [[value if isinstance(value, str) else html.figure(value) for value in row] for row in rows]
        return html.table([titles[0], *(f">{title}" for title in titles[1:])], shown, self.run.key)


class Samples(Sampled):
    """Texts or waves that a network has made after a prompt: `texts` or `waves`, and `samples` with the tokens of
    each. `write` writes them to a file.
    """

    @property
    def frame(self) -> DataFrame:
        """A row for each text. Columns: `seed` where it was drawn, `text`, `bits_per_token`. Of waves a row for each
        step, and a column for each wave.
        """
        if self.are_waves:
            return frames.table(self._titles, [list(row) for row in zip(*self.waves, strict=True)])
        columns = [*(["seed"] if self.seeds else []), "text", "bits_per_token"]
        rows = [[text, one.bits_per_token] for text, one in zip(self.texts, self.samples, strict=True)]
        return frames.table(columns, [[*self.seeds[i : i + 1], *row] for i, row in enumerate(rows)])

    def __repr__(self) -> str:
        what = plural(len(self.samples), "wave" if self.are_waves else "text")
        return (
            f"<dlx.Samples of {self.run.key}: {what} after {'silence' if self.prompt is None else repr(self.prompt)}>"
        )

    def _repr_html_(self) -> str:
        shown = self._titles if self.are_waves else self.lines(echo=True)
        bits = [html.figure(one.bits_per_token) for one in self.samples]
        title = "wave" if self.are_waves else "text"
        return html.table((title, ">bits a token"), list(zip(shown, bits, strict=True)))


class Draws(drawing.Draws):
    """Samples that generative networks have made: `values` (n, *shape). `write` writes a sheet of them to a file."""

    def __repr__(self) -> str:
        what = "x".join(map(str, self.values.shape[1:]))
        return f"<dlx.Draws of {self.run.key}: {plural(len(self.values), 'sample')} of {what}>"


def open_run(run: AnyRun = "last", *, runs: str | os.PathLike[str] = "runs") -> Run:
    """A run that has ended, failed or goes on, to read from: by its folder, or by a name that `dlx runs` shows.

    `last`, `name/id`, or the beginning of one are looked for below `runs`. Raises DlxError where there is none.
    """
    return Run(run_folder(run, runs).dir)


def evaluate(
    run: AnyRun | Iterable[AnyRun],
    *,
    parts: str | Sequence[str] = (),
    checkpoint: str | None = None,
    data: str | Sequence[str] | Mapping[str, Any] = (),
    combine: Combine | None = None,
    wrong: int | None = None,
    by: str | None = None,
    keep: str | Sequence[str] = (),
    pictures: bool = False,
    runs: str | os.PathLike[str] = "runs",
) -> Evaluation:
    """Measure a trained network once more as `dlx evaluate` does, or several alone and together.

    `parts` are of `train`, `valid` and `test`, by default those held out; `data` are changes to the fields of the
    run's data, `["test_path=other"]` or `{"test_path": "other"}`. Several runs, an ensemble and the runs of several
    seeds are combined by `combine`: `average` of the probabilities or values, `vote`, `unanimous`. Of one network
    `wrong` asks for the worst examples of each part, with the columns `keep` of the source and their `pictures`, and
    `by` for the metrics by the values of a column or field, or by `class`.

    Raises DlxError where a checkpoint or part is missing, the data has changed, or networks cannot answer together.
    """
    _check_combine(combine)
    names = [parts] if isinstance(parts, str) else list(parts)
    closer = Closer(wrong, by, (keep,) if isinstance(keep, str) else tuple(keep), pictures)
    with isolated():
        found = evaluations.evaluate(_folders(run, runs), checkpoint, names, override_texts(data), combine, closer)
    return Evaluation(**vars(found))


def _check_combine(combine: Combine | None) -> None:
    if combine is not None:
        check_choice("combine", combine, get_args(Combine))


def _folders(run: AnyRun | Iterable[AnyRun], runs: str | os.PathLike[str]) -> list[RunFolder]:
    """Return the folders of runs, and of all seeds for the runs of several seeds."""
    if isinstance(run, SeedRuns):
        return [RunFolder(one.folder) for one in run.runs]
    if isinstance(run, str | os.PathLike | Run) or not isinstance(run, Iterable):
        return [run_folder(run, runs)]
    return [folder for one in run for folder in _folders(one, runs)]


def predict(
    run: AnyRun,
    inputs: str | os.PathLike[str] | NDArray[np.generic] | Tensor | DataFrame | Mapping[str, Any] | Sequence[Any],
    *,
    checkpoint: str | None = None,
    combine: Combine | None = None,
    keep: str | Sequence[str] = (),
    threshold: float | None = None,
    of: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    runs: str | os.PathLike[str] = "runs",
) -> Predictions:
    """Ask a trained network about inputs as they are before preprocessing; its data need not be there.

    `inputs` are a file or folder as `dlx predict` takes it; an array, tensor or nested list (n, *shape), or of one
    input without the n; or for a run on a table a DataFrame, or a mapping of columns, with the columns of the table;
    or of several inputs a mapping of arrays by field. Pictures may have another size, where the network takes it.
    Arrays of unsigned bytes are divided by 255, as pictures are. `keep` names columns of the inputs that stand beside
    the answers in `frame`, "*" all of them. `threshold` is the probability above which the second of two classes is
    answered, or the least score of a box. `of` names a node, `NETWORK/NODE` of several networks, whose values are
    answered, as `arrays[NODE]`. `samples` is how often a network with dropout answers (Monte Carlo dropout), from
    `seed`: the mean, and beside each array the standard deviation, as `arrays["probabilities_spread"]`.

    Raises DataError where inputs have another shape or lack a column, DlxError where the run has no such checkpoint.
    """
    names = [keep] if isinstance(keep, str) else list(keep)
    _check_combine(combine)
    source = path_of(inputs, "") if isinstance(inputs, str | os.PathLike) else python_inputs.read(inputs)
    with isolated():
        found = predictions.predict(
            run_folder(run, runs), source, checkpoint, combine, names, threshold, of=of, samples=samples, seed=seed
        )
    return Predictions(**vars(found))


def sample(
    run: AnyRun = "last",
    n: int | None = None,
    *,
    prompt: Any = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    beam: int | None = None,
    samples: int = 1,
    seed: int = 0,
    of_class: str | int | None = None,
    arithmetic: str | None = None,
    interpolate: str | None = None,
    known: Any = None,
    to: str | None = None,
    checkpoint: str | None = None,
    runs: str | os.PathLike[str] = "runs",
) -> Samples | Draws:
    """Let a language model go on with the text `prompt` for `n` tokens, as `dlx sample` does, or a network of waves
    with an array (steps,), or a file, from -1 to 1. Of a generative model `Draws`: `n` samples, of a class, of an
    expression of latents "3 - 5 + 8", or on the way between two of them, "3, 8"; or the examples `known`, a file or
    an array, with what is missing, NaN, drawn given the rest, `n` times each; of `cycle` turned into such of the
    field `to`, its second side by default.

    Text i is drawn by `seed` + i. `temperature` 0 takes the most probable token each time; `beam` searches the most
    probable text among as many.

    Raises DlxError where the run tells no next token, or the prompt is empty, too long or not of its vocabulary.
    """
    asked = Asked(
        n=n,
        prompt=prompt,
        decoding=Decoding(temperature, top_k, top_p),
        beam=beam,
        samples=samples,
        seed=seed,
        of_class=of_class,
        arithmetic=arithmetic,
        interpolate=interpolate,
        known=known,
        to=to,
        checkpoint=checkpoint,
    )
    with isolated():
        made = made_by(run_folder(run, runs), asked)
    return Draws(**vars(made)) if isinstance(made, drawing.Draws) else Samples(**vars(made))
