"""The pictures of a training part, beside what its first steps make of them: `dlx data --png`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...augment.base import Mixed
from ...augment.colours import pixels
from ...augment.pipeline import maps
from ...data import Sets
from ...data.images import contact_sheet
from ...data.images.image import NAMED
from ...errors import DataError, SpecError
from ...experiment.session import job_of
from ...lazy import torch
from ...shapes import Shape
from ...spec import Experiment
from ...training.batches.augmentation import AugmentedPart
from ...training.batches.example_order import Examples
from ...training.batches.on_device import on_device
from ...training.prepared import prepare
from .description import DataDescription

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.batch import Batch

MOST = 16
"""Examples on a contact sheet."""
UNDONE = ("standardize", "rescale")
"""Preprocessing steps that are undone before a picture is shown."""


@dataclass(frozen=True)
class Looks:
    """Examples of a training: their indices in the training part, as they lie, and as its first update sees them."""

    indices: list[int]
    original: Batch
    augmented: Batch | None
    """None where nothing is augmented."""


def check_pictures(made: DataDescription) -> None:
    """Raise DataError where the main input of the data is no picture."""
    name = made.sets.named("input")[0]
    shape = Shape(made.sets.train.x.shape[1:])
    if shape.rank != 3 or shape[0] not in NAMED:
        message = f"the input `{name}` has the shape {shape}, and a picture has 1, 3 or 4 channels, height and width"
        raise DataError(message, hint="Leave `--png` out: the tables show what was read.")


def first_batch(experiment: Experiment, sets: Sets) -> Looks:
    """Return the first examples of the first update, as training sees them with this seed.

    Without `augment` they are the first examples of the training part. Nothing is trained: the networks are built,
    since what they draw comes before what augmentations draw.

    Raises:
        SpecError: the spec cannot be trained.
    """
    train = experiment.train
    if train is None or not train.augment:
        part = on_device(sets, torch.device("cpu"))["train"]
        index = torch.arange(min(MOST, len(part)))
        return Looks(index.tolist(), part.take(index), None)
    prepared = prepare(experiment, load=lambda _: sets)
    job = job_of(prepared, initial=())
    feed, part = job.feed, job.parts["train"]
    assert isinstance(feed, Examples)
    assert isinstance(part, AugmentedPart)
    feed.begin()
    (index,) = feed.next_indices(1)
    index = index[: train.batch(len(part))]
    augmented, few = part.take(index), index[:MOST]
    return Looks(few.tolist(), part.of.take(few), augmented)


def save(experiment: Experiment, made: DataDescription, path: Path, stage: str | None = None) -> str:
    """Write the contact sheet, and return a sentence on what it shows: of `stage`, where the spec is one of several.

    Raises:
        SpecError: the input is no picture, the spec cannot be trained, or the file cannot be written.
    """
    try:
        check_pictures(made)
        looks = first_batch(experiment, made.sets)
        names = {name: [one.name for one in each] for name, each in made.classes.items()}
        contact_sheet.save(path, [contact_sheet.Section("", _groups(looks, made.sets, names))])
    except DataError as error:
        raise SpecError(*(replace(p, mark=p.mark or experiment.place("data")) for p in error.problems)) from error
    count, of = len(looks.indices), f"{path}, stage `{stage}`" if stage is not None else f"{path}"
    if looks.augmented is None:
        return f"{of}: the first {count} examples of the training part"
    seed = experiment.train.seed if experiment.train is not None else 0
    return f"{of}: the first {count} examples that training sees with seed {seed}, each beside its original"


def _groups(looks: Looks, sets: Sets, names: dict[str, list[str]]) -> list[tuple[str, Sequence[contact_sheet.Tile]]]:
    main = sets.named("input")[0]
    first = _tiles(looks.original, main, sets)
    second = _tiles(looks.augmented, main, sets) if looks.augmented is not None else []
    captions = [_caption(i, row, looks.original, names) for i, row in enumerate(looks.indices)]
    return [(text, [first[i], *second[i : i + 1]]) for i, text in enumerate(captions)]


def _caption(i: int, row: int, batch: Batch, names: dict[str, list[str]]) -> str:
    found = [f"#{row}"]
    for name, classes in names.items():
        target = batch.fields[name]
        if target.dim() == 1:
            found.append(classes[int(target[i])] or f"{name} {int(target[i])}")
    return " ".join(found)


def _tiles(batch: Batch, main: str, sets: Sets) -> list[contact_sheet.Tile]:
    """Return the first pictures of a batch from 0 to 1, each with the class of its pixels where a target is a map."""
    x = batch.fields[main][:MOST].float().cpu()
    undone = [step for step in sets.preprocess if step.step.kind in UNDONE]
    if len(undone) == len(sets.preprocess) and (seen := pixels(sets.preprocess, "cpu")) is not None:
        x = x * seen.scale + seen.shift
    x = _from_0_to_1(x)
    classes = _map_of(batch, main, sets)
    return [contact_sheet.Tile(x[i].numpy(), None if classes is None else classes[i].numpy()) for i in range(len(x))]


def _from_0_to_1(x: Tensor) -> Tensor:
    """Return pictures as they are where their mean lies between 0 and 1, else by their least and greatest value."""
    if 0 <= float(x.mean()) <= 1 and float(x.min()) >= -1 and float(x.max()) <= 2:
        return x
    low, high = x.min(), x.max()
    return (x - low) / (high - low if high > low else torch.ones(()))


def _map_of(batch: Batch, main: str, sets: Sets) -> Any:
    """Return the classes (n, height, width) of the first target that is a map of the pictures' size, or None."""
    for name in sets.named("target"):
        target = batch.fields[name]
        target = target.first if isinstance(target, Mixed) else target
        if not target.is_floating_point() and target.dim() == 3 and maps(batch.fields[main], target):
            return target[:MOST].cpu()
    return None


__all__ = ["Looks", "check_pictures", "first_batch", "save"]
