"""Comparison of a trained network with a constant prediction, which ignores the inputs.

Of classes: naming the most frequent class of the training part each time. Its hits among n examples are binomial, so
its share of hits b has a standard deviation of sqrt(b (1 - b) / n). Of values: predicting the mean of the training
part; its mean squared error over n examples has a standard error of s / sqrt(n), s being the deviation of the squared
errors. A network counts as better where it is beyond 1.645 of them, the 95 % quantile of the normal distribution:
by the central limit theorem an equal guess would come so far on one part in twenty.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

from ..errors import plural
from ..lazy import torch
from ..losses import Loss
from ..objectives import Supervised
from ..objectives.supervised import Head

if TYPE_CHECKING:
    from torch import Tensor

    from .batches.data_part import DataPart
    from .fit import Job

QUANTILE = 1.645
"""Of the normal distribution, one-sided, at 95 %."""


def notes(job: Job, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return a sentence for each head that is no better than a guess; on the test, else validation or train part."""
    name = next((part for part in ("test", "valid", "train") if part in job.parts), "train")
    known, asked = job.parts["train"], job.parts[name]
    if not isinstance(job.objective, Supervised):
        return ()
    heads = job.objective.heads(known.names.targets)
    return tuple(note for head in heads for note in _of_head(head, name, known, asked, metrics))


def _of_head(
    head: Head, name: str, known: DataPart, asked: DataPart, metrics: Mapping[str, float]
) -> tuple[str, ...]:
    train: Any = known.fields[head.field]
    part: Any = asked.fields[head.field]
    objective = head.objective
    if not isinstance(train, torch.Tensor) or not isinstance(part, torch.Tensor):
        return ()  # targets that stay on disk
    share, error = (f"{name}/{head.named(metric)}" for metric in ("accuracy", "mse"))
    accuracy, squared = metrics.get(share), metrics.get(error)
    if objective.measures == "classes" and accuracy is not None:
        return _of_classes(share, accuracy, train, part, objective.loss.ignores())
    if objective.measures == "values" and squared is not None and type(objective.loss).residual is Loss.residual:
        return _of_values(error, squared, train, part)
    return ()


def _of_classes(name: str, accuracy: float, train: Tensor, part: Tensor, ignored: int | None) -> tuple[str, ...]:
    known, asked = (y.flatten() if ignored is None else y[y != ignored] for y in (train.long(), part.long()))
    if not len(known) or not len(asked) or bool((known == known[0]).all()):
        return ()
    share = float((asked == known.bincount().argmax()).double().mean())
    most = share + QUANTILE * sqrt(share * (1 - share) / len(asked))
    if accuracy > most:
        return ()
    guess = "naming the most frequent class of the training part each time"
    return (_sentence(name, accuracy, guess, share, f"up to {most:.4g}", len(part)),)


def _of_values(name: str, squared: float, train: Tensor, part: Tensor) -> tuple[str, ...]:
    errors = (part.double() - train.double().mean(0)).square().flatten(1).mean(1)
    if len(errors) < 2 or not float(errors.mean()):
        return ()
    mean = float(errors.mean())
    least = max(0.0, mean - QUANTILE * float(errors.std()) / sqrt(len(errors)))
    if squared < least:
        return ()
    guess = "predicting the mean of the training part"
    return (_sentence(name, squared, guess, mean, f"down to {least:.4g}", len(part)),)


def _sentence(name: str, value: float, guess: str, own: float, bound: str, count: int) -> str:
    return (
        f"no better than guessing: {name} {value:.4g}, and {guess} gives {own:.4g}, by chance {bound} "
        f"with {plural(count, 'example')}"
    )
