"""Predict new inputs with a trained network; the data that it was trained on is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import input_record
from ..data.passthrough import as_png, passthrough
from ..data.python_inputs import INPUTS, Columns, FieldInputs
from ..errors import DlxError
from ..graph import Graph
from ..lazy import np, torch
from ..objectives import Objective, Supervised, default_objective
from ..objectives.ensemble import check_combine
from ..objectives.regression import Regression
from ..objectives.translation import Translation
from ..runs.folder import RunFolder
from ..spec import Experiment, Train, load, supervised_of
from ..training import device, ensemble_metrics, process
from ..training.batches.augmentation import inference_call
from ..training.checkpoints import checkpoint
from ..utils.json_documents import dumps
from . import features, monte_carlo
from .answer_base import Answers
from .answers import Boxes, Classes, answers_of, titles_beside
from .evaluate import input_record_of, job_of_run, members_of, weights_of
from .input_sizes import graph_for
from .row_files import as_csv, rows_as_parquet, write_whole

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    from ..data import Dataset
    from ..data.input_record import InputRecord
    from ..data.new_inputs import NewInputs

    Array = npt.NDArray[Any]

CHUNK = 256
"""Inputs in one call of a network."""
MOST_CLASSES = 256
"""Most classes of a map that is written as a picture of bytes."""
FORMS = ".csv, .parquet, .jsonl or .npz"


@dataclass(frozen=True)
class Predicted:
    """An answer for each input.

    `names` name the inputs, `columns` are columns of them that stand beside the answers.
    """

    run: RunFolder
    file: Path
    names: tuple[str, ...]
    answers: Answers
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    members: int = 1
    combine: str | None = None

    def __len__(self) -> int:
        return len(self.answers)

    notes: tuple[str, ...] = ()
    """What is to be told of the answers."""

    @property
    def arrays(self) -> dict[str, Array]:
        """Return the arrays of the answers by name, such as `classes` and `probabilities`."""
        return self.answers.arrays

    @property
    def classes(self) -> Array:
        """Class numbers (n,), of maps (n, *size), or of boxes (m,)."""
        return self._array("classes")

    @property
    def probabilities(self) -> Array:
        """Probabilities of the classes (n, classes, *size)."""
        return self._array("probabilities")

    @property
    def indicators(self) -> Array:
        """1 for each label that is predicted (n, labels), where there are several an example."""
        return self._array("indicators")

    @property
    def values(self) -> Array:
        """Values (n, *target), such as heat maps."""
        return self._array("values")

    @property
    def joints(self) -> Array:
        """Column and row of each joint (n, joints, 2), in pixels of its heat map."""
        return self._array("joints")

    @property
    def boxes(self) -> Array:
        """Left, top, right and bottom (m, 4) of the boxes of all inputs, as fractions of the picture."""
        return self._array("boxes")

    @property
    def scores(self) -> Array:
        """Scores of the boxes (m,), or of the joints (n, joints)."""
        return self._array("scores")

    @property
    def inputs(self) -> Array:
        """Number of the input of each box (m,)."""
        return self._array("inputs")

    def _array(self, name: str) -> Array:
        if name not in self.arrays:
            raise AttributeError(f"these predictions have no `{name}`: they have {', '.join(self.arrays)}")
        return self.arrays[name]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, values or joints."""
        return self.answers.labels

    @property
    def in_rows(self) -> bool:
        """Whether the answers are rows of a table."""
        return self.answers.titles is not None

    @property
    def several_rows(self) -> bool:
        """Whether an input may have another number of rows than one."""
        return self.answers.several_rows

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of a table: a row for each input, or for each of its boxes or joints."""
        assert self.answers.titles is not None
        beside = [[name, *(values[i] for values in self.columns.values())] for i, name in enumerate(self.names)]
        titles = ["input", *self.columns, *titles_beside(self.answers.titles, list(self.columns))]
        return titles, [[*beside[i], *row] for i in range(len(self)) for row in self.answers.rows(i)]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx predict --json`."""
        document: dict[str, Any] = {"run": self.run.key, "file": str(self.file), "members": self.members}
        document |= {"combine": self.combine, "labels": list(self.labels)}
        if isinstance(self.answers, Boxes):
            document["note"] = self.answers.note
        if self.notes:
            document["notes"] = list(self.notes)
        return document | {"predictions": [self._one(i) for i in range(len(self))]}

    def _one(self, i: int) -> dict[str, Any]:
        beside = {"columns": {name: values[i] for name, values in self.columns.items()}} if self.columns else {}
        return {"input": self.names[i], **beside, **self.answers.as_json(i)}

    def write(self, path: Path) -> None:
        """Write a table to .csv or .parquet, JSON lines to .jsonl, arrays to .npz, or maps of classes as pictures
        into a folder. Raises DlxError for another file, or where a table cannot hold the answers.
        """
        if not path.suffix or path.is_dir():
            self._write_pictures(path)
            return
        write = {".npz": self._npz, ".csv": self._csv, ".parquet": self._parquet, ".jsonl": self._json_lines}
        if path.suffix not in write:
            raise DlxError(f"{path} ends in {path.suffix}", hint=f"Answers are written to {FORMS}.")
        if path.suffix in (".csv", ".parquet") and not self.in_rows:
            message = "each answer has several positions, which are no line of a table"
            raise DlxError(message, hint=f"Write them as arrays: `--output {path.with_suffix('.npz')}`.")
        write_whole(path, write[path.suffix]())

    def _npz(self) -> bytes:
        packed = BytesIO()
        np.savez(packed, **self.arrays)  # type: ignore[arg-type]
        return packed.getvalue()

    def _csv(self) -> bytes:
        return as_csv(*self.rows())

    def _parquet(self) -> bytes:
        return rows_as_parquet(*self.rows())

    def _json_lines(self) -> bytes:
        return "".join(f"{dumps(self._one(i))}\n" for i in range(len(self))).encode()

    def _write_pictures(self, folder: Path) -> None:
        """Write a picture of the classes at its positions for each input, with the input's name."""
        answers = self.answers
        if not isinstance(answers, Classes) or answers.classes.ndim != 3:
            hint = f"Answers are written to {FORMS}; maps of classes as pictures into a folder."
            raise DlxError(f"{folder} names a folder, and the answers are no pictures", hint=hint)
        if len(self.labels) > MOST_CLASSES:
            raise DlxError(f"pictures of bytes hold {MOST_CLASSES} classes, and there are {len(self.labels)}",
                           hint="Write arrays: `--output FILE.npz`.")  # fmt: skip
        paths = [(folder / name).with_suffix(".png") for name in self.names]
        if len(set(paths)) < len(paths):
            raise DlxError("two inputs differ by their suffix alone, and their pictures would have one name",
                           hint="Write arrays: `--output FILE.npz`.")  # fmt: skip
        for path, classes in zip(paths, answers.classes, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, as_png(classes, len(self.labels)))


CARRIED = (
    "each window begins at a state of zeros here, and goes on with that of the window before in `dlx evaluate` "
    "(`carry: true`)"
)
"""Note of a run whose recurrent layers go on from window to window."""


def predict(
    run: RunFolder,
    inputs: Path | Columns | FieldInputs | Array,
    name: str | None = None,
    combine: str | None = None,
    keep: Sequence[str] = (),
    threshold: float | None = None,
    weights: Mapping[str, Tensor] | None = None,
    of: str | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Predicted:
    """Predict the inputs in a file, a folder or memory, which are preprocessed as those of the training were.

    An ensemble answers together, and so do snapshots where no checkpoint is named. `keep` names columns of the
    inputs that stand beside the answers; `threshold` is the probability or score that `answers_of` takes; `weights`
    are taken in place of a checkpoint; `of` names a node, whose values are answered; `samples`
    is the number of draws of Monte Carlo dropout or batch norm, from `seed`. Raises DlxError where they are not what
    the network takes.
    """
    process.tune()
    members, how = members_of([run], combine)
    experiment, known, scope = load(members[0].file("spec.yaml")), input_record_of(members[0]), ""
    answering = experiment.objective.answering() if experiment.objective is not None else None
    if answering is not None:
        scope, other = answering
        experiment = replace(experiment.alone(scope), objective=other)
    if experiment.data is None or experiment.train is None:
        raise DlxError(f"{run.key} names no data, and cannot be asked")
    of_networks = answering is None and bool(experiment.networks)
    _refuse_unanswered(experiment.objective, run, of, of_networks)
    known, new_inputs, columns = _read(experiment.data, inputs, known, members[0], keep)
    x = known.all_prepared(new_inputs)
    input_names = new_inputs.names or tuple(str(i) for i in range(len(new_inputs.x)))
    file = inputs if isinstance(inputs, Path) else INPUTS
    phased = experiment.objective
    with device.threads(members[0].threads()):
        if answering is None and phased is not None and (phased.answers_inputs or of_networks):
            _refuse_threshold(phased, threshold)
            _refuse_samples(samples, f"the answers of {phased.kind}")
            trained = features.Trained(experiment, members[0], name or "final", known)
            found = trained.answers(x, experiment.train.seed) if of is None else trained.node(of, x)
            return Predicted(run, file, input_names, found, columns)
        networks, way = _networks(experiment, members, known, name, scope, combine, how, weights)
        if of is not None:
            _refuse_samples(samples, "the values of a node")
            found = features.node_values(networks, of.removeprefix(f"{scope}/"), of, x)
            return Predicted(run, file, input_names, found, columns)
        objective = supervised_of(experiment) if phased is not None else default_objective(known.facts)
        objective = objective.fitted(known.targets).in_units(new_inputs.units)
        if len(networks) > 1 and (problem := check_combine(objective, way)):
            raise DlxError(problem)
        main = known.taken.index(known.facts.input_name)
        if isinstance(objective, Translation):
            _refuse_samples(samples, "texts")
            outputs = written(networks, objective, x, known.taken)
        elif samples is None:
            outputs = outputs_of(networks, objective, x, experiment.train, main)
        elif isinstance(objective, Regression) and objective.loss.samples and not monte_carlo.drops(networks):
            outputs = outputs_of(networks[:1], objective, x, experiment.train, main)
            made = monte_carlo.draws(objective, outputs[""], samples, seed)
            return Predicted(run, file, input_names, made, columns)
        else:
            train, supervised = experiment.train, objective
            if problem := check_combine(objective, way):
                raise DlxError(problem)
            several = monte_carlo.sampled(
                networks,
                samples,
                seed,
                lambda: outputs_of(networks, supervised, x, train, main),
                lambda outputs, by: answers_of(supervised, outputs, by, known, threshold),
                way,
                lambda rng: _training_batches(members[0], rng),
            )
            return Predicted(run, file, input_names, several, columns, len(networks), way)
    combined_by = way if len(networks) > 1 else None
    answers = answers_of(objective, outputs, combined_by, known, threshold)
    notes = (CARRIED,) if getattr(experiment.data, "carry", False) else ()
    return Predicted(run, file, input_names, answers, columns, len(networks), combined_by, notes)


def _networks(
    experiment: Experiment,
    members: Sequence[RunFolder],
    known: InputRecord,
    name: str | None,
    scope: str,
    combine: str | None,
    how: str,
    weights: Mapping[str, Tensor] | None,
) -> tuple[list[nn.Module], str]:
    """Return the networks that answer together, and how."""
    assert experiment.train is not None
    names, mine = [name or "final"], experiment.train.ensemble
    if name is None and mine is not None and mine.snapshots:
        names, how = _snapshots(members[0], mine.snapshots), combine or mine.combine
    graph = graph_for(experiment, known)
    if weights is None:
        return [_trained(experiment, graph, one, saved, scope) for one in members for saved in names], how
    network = _network(experiment, graph)
    network.load_state_dict(weights)
    return [network], how


def _training_batches(run: RunFolder, rng: torch.Generator) -> Callable[[], tuple[Tensor, ...]]:
    """Load the data of a run; return what draws the inputs of a batch of its training, without replacement."""
    job = job_of_run(run, "final").job
    part = job.parts["train"]
    size = min(job.train.batch(len(part)), len(part))

    def batch() -> tuple[Tensor, ...]:
        index = torch.randperm(len(part), generator=rng)[:size]
        return tuple(x.cpu() for x in part.take(index.to(part.x.device)).inputs)

    return batch


def _read(
    source: Dataset,
    inputs: Path | Columns | FieldInputs | Array,
    known: InputRecord,
    run: RunFolder,
    keep: Sequence[str],
) -> tuple[InputRecord, NewInputs, dict[str, Any]]:
    """Return the record for inputs of this size, the inputs before preprocessing, and the columns to keep."""
    with input_record.understood(run.dir):
        if isinstance(inputs, FieldInputs):
            if keep:
                message = "inputs by field have no columns to keep"
                raise DlxError(message, hint="Leave out `keep`; the field `id` names the inputs.")
            return known, source.from_fields(inputs, known), {}
        known = known.at(source.shape_of_inputs(inputs, known))
        new_inputs = (
            source.new_inputs(inputs, known) if isinstance(inputs, Path) else source.from_memory(inputs, known)
        )
        return known, new_inputs, dict(passthrough(inputs, keep, len(new_inputs.x), new_inputs.table))


def _refuse_unanswered(objective: Objective | None, run: RunFolder, of: str | None, several: bool) -> None:
    """Raise DlxError where an objective answers nothing of new inputs, and no node is named that does."""
    if objective is None or isinstance(objective, Supervised) or of is not None:
        return
    if objective.answers_inputs or objective.answering() is not None:
        return
    node = "NETWORK/NODE" if several else "NODE"
    made = f"`dlx sample {run.key}` makes samples. " if objective.makes_samples else ""
    message = f"{objective.kind} answers nothing of new inputs"
    raise DlxError(message, hint=f"{made}`--of {node}` answers what a node gives for them.")


def _refuse_threshold(objective: Objective, threshold: float | None) -> None:
    if threshold is not None:
        raise DlxError(f"`--threshold` is for classes, and {objective.kind} tells none", hint="Leave it out.")


def _refuse_samples(samples: int | None, what: str) -> None:
    if samples is not None:
        raise DlxError(f"`--samples` draws classes and values several times, and not {what}", hint="Leave it out.")


def _snapshots(run: RunFolder, count: int) -> list[str]:
    there = len(list((run.dir / "checkpoints").glob(f"{ensemble_metrics.SNAPSHOT.format('*')}.safetensors")))
    return ensemble_metrics.last_snapshots(there, count)


def _trained(experiment: Experiment, graph: Graph, run: RunFolder, name: str, scope: str) -> nn.Module:
    """Return a network with the weights of a checkpoint; `scope` is its name among several."""
    network = _network(experiment, graph)
    folder = weights_of(run, name)
    if not scope:
        checkpoint.load_weights(network, folder, name)
    else:
        _, tensors = checkpoint.read(folder, name)
        checkpoint.fill(network, checkpoint.of_network(tensors, scope, graph), folder / f"{name}.safetensors")
    return network


def _network(experiment: Experiment, graph: Graph) -> nn.Module:
    from ..network import build

    return build(graph, experiment.init).eval()


def written(
    networks: Sequence[Any], objective: Translation, inputs: Sequence[Array], names: Sequence[str]
) -> dict[str, Tensor]:
    """Return the tokens that a network writes (1, n, length), by the name of the head."""
    if len(networks) > 1:
        message = f"{len(networks)} networks answer together, and each writes a text of its own"
        raise DlxError(message, hint="Ask one of them: name its run, or a checkpoint by `--checkpoint`.")
    with torch.inference_mode():
        split = (torch.split(torch.from_numpy(np.ascontiguousarray(x)), CHUNK) for x in inputs)
        chunks = [objective.write(networks[0], one, names) for one in zip(*split, strict=True)]
    return {"": torch.cat(chunks)[None]}


def outputs_of(
    networks: Sequence[nn.Module], objective: Supervised, inputs: Sequence[Array], train: Train, main: int = 0
) -> dict[str, Tensor]:
    """Return the outputs that objectives read, (members, n, ...) by the name of the head, for inputs in order.

    Of one objective that name is empty. `main` is the input that is augmented.
    """
    look = inference_call(train, objective, inputs[main].shape[1:], main)
    with torch.inference_mode():
        split = (torch.split(torch.from_numpy(np.ascontiguousarray(x)), CHUNK) for x in inputs)
        chunks = list(zip(*split, strict=True))
        each = [[objective.read_outputs(look(network, c)) for c in chunks] for network in networks]
        return {
            name: torch.stack([torch.cat([chunk[name] for chunk in chunks]) for chunks in each])
            for name in each[0][0]
        }
