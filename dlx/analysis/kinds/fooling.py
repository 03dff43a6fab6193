"""Fooling images: noise that a classifier is sure of."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem, did_you_mean
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..measures.ascent import descend
from ..measures.classifier import Classifier, classifier_problems
from ..measures.input_space import panels_of
from ..measures.over_seeds import over_seeds
from ..result import Bars, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ..subject import Subject

MOST = 10
"""Classes that are looked at where none are listed."""


class Fooling(Analysis):
    """Images of noise that a classifier takes for a class with high confidence.

    From uniform noise between the limits of the inputs, gradient descent on -log p of a class. Figures: `confidence`
    (mean probability of the classes), `confidence_least`, `noise_confidence` (largest probability of the noise that
    it began with), `fooled` (share of the classes of which the image is certain to `certainty`), `distance` (L2
    distance from the nearest training input as part of the mean distance of two of them: about 1 and more where the
    image is like no input).
    Books: patterns without any meaning that networks name with a confidence above 99 % (Nielsen, chapter 6).
    """

    kind: ClassVar[str] = "fooling"
    source: ClassVar[str] = "Nguyen, Yosinski & Clune 2015, arXiv:1412.1897; Nielsen, chapter 6"
    example: ClassVar[str] = "dlx analyze fooling runs/lenet-digits/ID"
    figures: ClassVar[tuple[str, ...]] = ("confidence", "confidence_least", "noise_confidence", "fooled", "distance")
    trained: ClassVar[bool] = True

    classes: list[int | str] = Field(
        [], description="numbers or names of classes; the first ten where none are listed"
    )
    certainty: float = Field(0.99, gt=0, lt=1, description="probability of which a network is said to be fooled")
    steps: PositiveInt = Field(200, description="updates of each image")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why it is no classifier, and classes that the data has not."""
        if found := classifier_problems(subject):
            return found
        names = subject.facts.class_names or tuple(map(str, range(subject.facts.classes or 0)))
        return [
            Problem(f"the data of {subject.name} has no class `{one}`", _classes_like(str(one), names))
            for one in self.classes
            if _number(one, names) is None
        ]

    def run(self, subject: Subject) -> Result:
        """Make an image of each class for each run."""
        names = subject.class_names()
        numbers = [number for one in self.classes if (number := _number(one, names)) is not None]
        numbers = numbers or list(range(len(names)))[:MOST]
        each, shown = [], tuple[Panel, ...]()
        for one in subject.each:
            classifier = Classifier.of(one)
            before, after, distance, images = self._made(classifier, one, numbers)
            each.append([*after, before, distance])
            captions = [f"{names[k]}: {p:.1%}" for k, p in zip(numbers, after, strict=True)]
            pairs = list(zip(captions, images, strict=True))
            shown = shown or panels_of("images and their probability", classifier.space, pairs, 5)
        mean, low, high = over_seeds(each)
        ends = (None, None) if low is None or high is None else (low[:-2].clip(0, 1), high[:-2].clip(0, 1))
        labels = [names[k] for k in numbers]
        figures = {
            "confidence": float(mean[:-2].mean()),
            "confidence_least": float(mean[:-2].min()),
            "noise_confidence": float(mean[-2]),
            "fooled": float((np.array(each)[:, :-2] >= self.certainty).mean()),
            "distance": float(mean[-1]),
        }
        bars = Panel("confidence", "class", "probability", (Bars("after", labels, mean[:-2], *ends),))
        rows = list(zip(labels, mean[:-2].tolist(), strict=True))
        return Result(figures, (bars, *shown), (("class", "probability"), rows), seeds=len(each))

    def _made(
        self, one: Classifier, subject: Subject, numbers: list[int]
    ) -> tuple[float, list[float], float, Tensor]:
        """Return the largest probability of the noise, that of each class, the distance from the data, the images."""
        space = one.space
        noise = space.noise(len(numbers), torch.Generator().manual_seed(0))
        wanted = torch.tensor(numbers, device=noise.device)
        images = descend(lambda x: one.losses(x, wanted), noise, self.steps, 0.02 * space.range, space.limits)
        with torch.no_grad():
            before = float(one.probabilities(noise).amax(1).mean())
            after = one.probabilities(images).gather(1, wanted[:, None]).flatten().tolist()
        data = space.to_raw(subject.examples(1_000, part="train").inputs[0]).flatten(1)
        usual = torch.pdist(data).mean()
        nearest = torch.cdist(images.flatten(1), data).amin(1).mean()
        return before, after, float(nearest / usual), images


def _classes_like(one: int | str, names: tuple[str, ...]) -> str:
    """Return a hint at the classes that there are."""
    if str(one).lstrip("-").isdigit():
        return f"Its {len(names)} classes count from 0 to {len(names) - 1}."
    return did_you_mean(str(one), names, "the classes")


def _number(one: int | str, names: tuple[str, ...]) -> int | None:
    """Return the number of a class that is named or numbered; None for no such class."""
    if isinstance(one, int):
        return one if 0 <= one < len(names) else None
    return names.index(one) if one in names else None
