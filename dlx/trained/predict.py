"""Predict new inputs with a trained network; the data that it was trained on is not needed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import input_record
from ..data.python_inputs import INPUTS, Columns
from ..errors import DlxError, RunError
from ..graph import Graph, trace
from ..lazy import np, torch
from ..objectives import Supervised, default_objective
from ..objectives.ensemble import check_combine, combined
from ..runs.folder import RunFolder
from ..spec import Experiment, Train, load, supervised_of
from ..training import device, ensemble_metrics
from ..training.batches.augmentation import inference_call
from ..training.checkpoints import checkpoint
from ..utils import files
from .evaluate import members_of, weights_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    from ..data.input_record import InputRecord

    Array = npt.NDArray[Any]

CHUNK = 256
"""Inputs in one call of a network."""
EDGES = ("left", "top", "right", "bottom")
UNSUPPRESSED = "all boxes of all cells, the surest first: overlapping boxes of one object are not suppressed"


@dataclass(frozen=True)
class Predicted:
    """One answer for each input: classes with their probabilities if there are any, or values, or boxes.

    `names` name the inputs, `labels` the classes or values. `boxes` (n, k, 4) are the left, top, right and bottom of
    all boxes of all cells as fractions of the picture, the highest score first, with their `scores` (n, k) and
    `classes` (n, k): none is suppressed.
    """

    run: RunFolder
    file: Path
    names: tuple[str, ...]
    labels: tuple[str, ...]
    classes: Array | None = None
    probabilities: Array | None = None
    values: Array | None = None
    boxes: Array | None = None
    scores: Array | None = None
    members: int = 1
    combine: str | None = None

    def __len__(self) -> int:
        return len(self.classes if self.classes is not None else self.values)  # type: ignore[arg-type]

    @property
    def in_rows(self) -> bool:
        """Whether the answers are rows of a table: one class, a row of values, or boxes."""
        if self.boxes is not None:
            return True
        if self.classes is not None:
            return self.classes.ndim == 1
        return self.values is not None and self.values.ndim == 2

    @property
    def arrays(self) -> dict[str, Array]:
        """Return those of `classes`, `probabilities`, `values`, `boxes` and `scores` that are not None."""
        every = {name: getattr(self, name) for name in ("classes", "probabilities", "values", "boxes", "scores")}
        return {name: array for name, array in every.items() if array is not None}

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the titles and the rows of a table; one row for each box."""
        assert self.in_rows
        if self.boxes is not None:
            each = [[n, *one.values()] for i, n in enumerate(self.names) for one in self._boxes(i)]
            return ["input", "class", "score", *EDGES], [[n, c, s, *edges] for n, c, s, edges in each]
        if self.classes is None:
            assert self.values is not None
            return ["input", *self.labels], [[n, *v] for n, v in zip(self.names, self.values.tolist(), strict=True)]
        named = [self.labels[i] for i in self.classes]
        if self.probabilities is None:
            return ["input", "class"], [[n, c] for n, c in zip(self.names, named, strict=True)]
        lines = zip(self.names, named, self.probabilities.tolist(), strict=True)
        return ["input", "class", *(f"p({label})" for label in self.labels)], [[n, c, *p] for n, c, p in lines]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx predict --json`."""
        document: dict[str, Any] = {"run": self.run.key, "file": str(self.file), "members": self.members}
        document |= {"combine": self.combine, "labels": list(self.labels)}
        if self.boxes is not None:
            document["note"] = UNSUPPRESSED
        return document | {"predictions": [{"input": name, **self._one(i)} for i, name in enumerate(self.names)]}

    def _boxes(self, i: int) -> list[dict[str, Any]]:
        assert self.boxes is not None
        assert self.scores is not None
        assert self.classes is not None
        rows = zip(self.classes[i].tolist(), self.scores[i].tolist(), self.boxes[i].tolist(), strict=True)
        return [{"class": self.labels[kind], "score": score, "box": box} for kind, score, box in rows]

    def _one(self, i: int) -> dict[str, Any]:
        if self.boxes is not None:
            return {"boxes": self._boxes(i)}
        if self.classes is None:
            assert self.values is not None
            return {"values": self.values[i].tolist()}
        found = self.classes[i]
        one: dict[str, Any] = {"class": self.labels[found] if found.ndim == 0 else found.tolist()}
        return one | ({"probabilities": self.probabilities[i].tolist()} if self.probabilities is not None else {})

    def write(self, path: Path) -> None:
        """Write a table to .csv, or arrays to .npz. Raises DlxError for another file, or where a table cannot
        hold the answers.
        """
        if path.suffix == ".npz":
            packed = BytesIO()
            np.savez(packed, **self.arrays)  # type: ignore[arg-type]
            data = packed.getvalue()
        elif path.suffix == ".csv":
            if not self.in_rows:
                message = "each answer has several positions, which are no line of a table"
                raise DlxError(message, hint=f"Write them as arrays: `--output {path.with_suffix('.npz')}`.")
            text = StringIO()
            titles, lines = self.rows()
            csv.writer(text, lineterminator="\n").writerows([titles, *lines])
            data = text.getvalue().encode()
        else:
            raise DlxError(f"{path} ends in {path.suffix or 'nothing'}", hint="Answers are written to .csv or .npz.")
        try:
            files.replace(path, data)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error


def predict(
    run: RunFolder, inputs: Path | Columns | Array, name: str | None = None, combine: str | None = None
) -> Predicted:
    """Predict the inputs in a file, a folder or memory, which are preprocessed as those of the training were.

    An ensemble answers together, and so do snapshots where no checkpoint is named. Raises DlxError where they
    are not what the network takes.
    """
    device.limit_thread_spinning()
    members, how = members_of([run], combine)
    experiment, known = load(members[0].file("spec.yaml")), input_record_of(members[0])
    if experiment.data is None or experiment.train is None:
        raise DlxError(f"{run.key} names no data, and cannot be asked")
    with input_record.understood(members[0].dir):
        source = experiment.data
        new_inputs = (
            source.new_inputs(inputs, known) if isinstance(inputs, Path) else source.from_memory(inputs, known)
        )
        x = known.prepared(new_inputs.x)
    names, mine = [name or "final"], experiment.train.ensemble
    if name is None and mine is not None and mine.snapshots:
        names, how = _snapshots(members[0], mine.snapshots), combine or mine.combine
    objective = supervised_of(experiment) if experiment.objective is not None else default_objective(known.facts)
    graph = trace(replace(experiment, data=None), known.inputs)
    networks = [_network(experiment, graph, one, weights) for one in members for weights in names]
    if len(networks) > 1 and (problem := check_combine(objective, how)):
        raise DlxError(problem)
    with device.threads(members[0].threads()):
        outputs = outputs_of(networks, objective, x, experiment.train)
    input_names = new_inputs.names or tuple(str(i) for i in range(len(new_inputs.x)))
    combined_by = how if len(networks) > 1 else None
    arrays = (
        boxes_of(outputs[0], known) if objective.measures == "boxes" else decoded(objective, outputs, combined_by)
    )
    file = inputs if isinstance(inputs, Path) else INPUTS
    return Predicted(
        run, file, input_names, _labels(known, arrays), members=len(networks), combine=combined_by, **arrays
    )


def input_record_of(run: RunFolder) -> InputRecord:
    """Return the record of a run's inputs; for an older run without one, from its data."""
    known = input_record.load(run.dir)
    if known is not None:
        return known
    experiment = load(run.file("spec.yaml"))
    if experiment.data is None:
        raise DlxError(f"{run.key} names no data, and cannot be asked")
    return input_record.of(experiment.data, experiment.data.load(), trace(experiment).inputs)


def _snapshots(run: RunFolder, count: int) -> list[str]:
    there = len(list((run.dir / "checkpoints").glob(f"{ensemble_metrics.SNAPSHOT.format('*')}.safetensors")))
    return ensemble_metrics.last_snapshots(there, count)


def _network(experiment: Experiment, graph: Graph, run: RunFolder, name: str) -> nn.Module:
    from ..network import build

    network = build(graph, experiment.init)
    checkpoint.load_weights(network, weights_of(run, name), name)
    return network.eval()


def outputs_of(networks: Sequence[nn.Module], objective: Supervised, x: Array, train: Train) -> Tensor:
    """Return the outputs of each network, (members, n, ...)."""
    look = inference_call(train, objective, x.shape[1:])
    with torch.inference_mode():
        chunks = torch.split(torch.from_numpy(np.ascontiguousarray(x)), CHUNK)
        return torch.stack([torch.cat([objective.main(look(network, c)) for c in chunks]) for network in networks])


def decoded(objective: Supervised, outputs: Tensor, how: str | None) -> dict[str, Array]:
    """Convert the outputs of one network or several to `classes` and `probabilities`, or `values`."""
    loss = objective.loss
    mean = outputs[0] if how is None else loss.averaged(outputs)
    if objective.measures == "values":
        return {"values": loss.predict(mean).numpy()}
    decided = mean if how is None else combined(objective, outputs, how)
    if objective.one_logit:
        p = loss.predict(mean).squeeze(1).clamp(0, 1)
        both = {"probabilities": torch.stack([1 - p, p], 1).numpy()} if loss.probabilities(mean) is not None else {}
        return {"classes": (loss.predict(decided).squeeze(1) > 0.5).long().numpy(), **both}
    likely = loss.probabilities(mean)
    found = {"classes": decided.argmax(1).numpy()}
    return found if likely is None else found | {"probabilities": likely.numpy()}


def boxes_of(output: Tensor, known: InputRecord) -> dict[str, Array]:
    """Decode the boxes of one network (N, 5 boxes + classes, S, S), with class and score.

    Each box has the most probable class of its cell, and as score the product of both confidences, as
    `average_precision` takes them.
    """
    from ..modules import boxes

    assert known.facts.target is not None
    answer = boxes.decode_outputs(output, (output.shape[1] - known.facts.target[0]) // 5 + 1)
    surest, classes = answer.classes.max(1, keepdim=True)
    scores = (answer.confidence * surest).flatten(1)
    order = scores.argsort(dim=1, descending=True, stable=True)
    kinds = classes.expand_as(answer.confidence).flatten(1).gather(1, order)
    corners = answer.corners.flatten(1, 3).take_along_dim(order[..., None], 1)
    return {"classes": kinds.numpy(), "scores": scores.gather(1, order).numpy(), "boxes": corners.numpy()}


def _labels(known: InputRecord, arrays: dict[str, Array]) -> tuple[str, ...]:
    """Return the names of the classes, or of the values in a row."""
    if "boxes" in arrays and known.facts.target is not None:
        return known.class_names or tuple(str(i) for i in range(known.facts.target[0] - 5))
    if "classes" in arrays:
        return known.class_names or tuple(str(i) for i in range(known.facts.classes or 0))
    named, count = known.reading.get("told", []), arrays["values"].shape[1]
    if len(named) == count:
        return tuple(named)
    return ("value",) if count == 1 else tuple(f"value_{i}" for i in range(count))
