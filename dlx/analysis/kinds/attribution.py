"""What of an input counts for the answer of a classifier: saliency maps, Grad-CAM, occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..layers import unknown_names
from ..measures.attacks import gradient_of
from ..measures.attribution import (
    class_activation,
    deleted,
    integrated_gradients,
    occlusion_map,
    relu_rule,
    smooth_gradient,
    spread_over,
)
from ..measures.classifier import Classifier, classifier_problems, logits, with_positions
from ..measures.input_space import InputSpace, diverging, line_of, resized
from ..measures.parts_of_network import up_to
from ..result import Lines, Panel, Pictures, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ..subject import Subject

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Parts of the positions that are deleted."""


class Attribution(Analysis):
    """Base of the kinds that give each position of an input its part in the answer.

    They are judged by deletion: positions are replaced by those of the mean training input, those that count most
    first, and the probability of the answer falls; beside it positions in random order. Figures: `deletion` and
    `random_deletion`, what of the probability is lost, in the mean over five shares of up to 40 %, and
    `above_random`, the first less the second. `accuracy_above_random` is the same of the accuracy: a network that
    has learned nothing has none to lose. `similarity_redrawn` is the rank correlation with the maps of the
    same network with weights drawn anew: one near 1 tells that a map does not depend on what was learned.
    Source of both tests: Samek et al. 2017, arXiv:1509.06321; Adebayo et al. 2018, arXiv:1810.03292.
    """

    trained: ClassVar[bool] = True
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"
    figures: ClassVar[tuple[str, ...]] = (
        "deletion",
        "random_deletion",
        "above_random",
        "accuracy_above_random",
        "similarity_redrawn",
    )

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why it is no classifier."""
        return classifier_problems(subject)

    def maps(self, one: Classifier, raw: Tensor, classes: Tensor) -> Tensor:
        """Return how much each position of raw inputs (N, channels, *size) counts for a class of each, (N, *size)."""
        raise NotImplementedError

    def more_figures(self, one: Classifier, raw: Tensor, classes: Tensor) -> dict[str, float]:
        """Return figures of a kind of its own."""
        return {}

    examples: PositiveInt = Field(64, description="inputs that are looked at, at most")
    part: str = Field("", description="their part of the data; test, else valid, else train")
    shown: PositiveInt = Field(8, description="inputs that are shown")

    def run(self, subject: Subject) -> Result:
        """Make the maps of some inputs, for the class that each is taken for."""
        one = Classifier.of(subject)
        batch = subject.examples(self.examples, part=self.part)
        raw = one.space.to_raw(batch.inputs[0])
        answers, targets = one.predicted(raw), subject.supervised.target(batch)
        maps = self.maps(one, raw, answers)
        redrawn = self.maps(Classifier.of(subject, one.space, redrawn=True), raw, answers)
        orders = _orders(maps)
        falls = [_left(one, raw, answers, order) for order in orders]
        right = [_accuracies(one, raw, targets, order) for order in orders]
        figures = {
            "deletion": 1 - float(np.mean(falls[0][1:])),
            "random_deletion": 1 - float(np.mean(falls[1][1:])),
            "above_random": float(np.mean(falls[1][1:]) - np.mean(falls[0][1:])),
            "accuracy_above_random": float(np.mean(right[1]) - np.mean(right[0])),
            "similarity_redrawn": _rank_correlation(maps, redrawn),
            **self.more_figures(one, raw, answers),
        }
        places = [0.0, *SHARES]
        lines = (
            Lines("most important first", places, falls[0]),
            Lines("random order", places, falls[1], dashed=True),
        )
        rows = [[share, falls[0][i], falls[1][i]] for i, share in enumerate(places)]
        names = subject.class_names()
        pairs = zip(answers.tolist(), targets.tolist(), strict=True)
        captions = [names[a] if a == t else f"{names[a]}, is {names[t]}" for a, t in pairs]
        return Result(
            figures,
            (
                Panel("deletion", "part of the positions", "probability of the answer, of the whole input's", lines),
                *_pictures(one.space, captions, raw, maps, self.shown),
            ),
            (("deleted", "most important first", "random order"), rows),
        )


class Saliency(Attribution):
    """How much each value of an input counts for the score of the answer, by the gradient.

    `gradient`: |dS/dx|, the largest over channels. `input_times_gradient`. `integrated`: gradients on the line from
    the mean training input, whose sum is the difference of both scores; `completeness_error` is how far it is
    from it, as part of it. `smooth`: mean gradient under noise. `guided` and `deconvolution`: gradients that every
    ReLU passes back where they are above 0 (and its input was, for `guided`).
    Books: a map of the pixels that matter for a class (Simonyan et al.); deconvolution shows what in an input made a
    unit active (Prince, section 10.6).
    """

    kind: ClassVar[str] = "saliency"
    source: ClassVar[str] = "Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034, section 3; Prince, section 10.6"
    example: ClassVar[str] = "dlx analyze saliency runs/lenet-digits/ID --set method=integrated"
    figures: ClassVar[tuple[str, ...]] = (*Attribution.figures, "completeness_error")

    method: Literal["gradient", "input_times_gradient", "integrated", "smooth", "guided", "deconvolution"] = Field(
        "gradient", description="how the map is made"
    )
    steps: PositiveInt = Field(50, description="points on the line of `integrated`, or draws of `smooth`")
    noise: NonNegativeFloat = Field(0.15, description="standard deviation of `smooth`, as part of the inputs' range")

    def without_effect(self) -> dict[str, str]:
        by_option = {"steps": ("integrated", "smooth"), "noise": ("smooth",)}
        why = f"with `method: {self.method}`"
        return {name: why for name, methods in by_option.items() if self.method not in methods}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why it is no classifier, or has no ReLU whose gradients could pass by another rule."""
        found = super().problems(subject)
        if not found and self.method in ("guided", "deconvolution"):
            activations = sorted({node.kind for node in subject.graph.nodes})
            if "relu" not in activations:
                message = f"`{self.method}` changes how ReLUs pass gradients back, and {subject.name} has none"
                found = [Problem(message, "Take another `method`.")]
        return found

    def maps(self, one: Classifier, raw: Tensor, classes: Tensor) -> Tensor:
        values = self.values(one, raw, classes)
        if self.method in ("integrated", "input_times_gradient"):
            return values.sum(1)
        return values.abs().amax(1)

    def values(self, one: Classifier, raw: Tensor, classes: Tensor) -> Tensor:
        """Return the map with its channels, (N, channels, *size)."""
        score = one.score(classes)
        if self.method == "integrated":
            return integrated_gradients(score, raw, one.space.mean.expand_as(raw), self.steps)
        if self.method == "smooth":
            generator = torch.Generator().manual_seed(0)
            return smooth_gradient(score, raw, self.noise * one.space.range, self.steps, generator)
        if self.method in ("guided", "deconvolution"):
            with relu_rule("guided" if self.method == "guided" else "deconvolution"):
                return gradient_of(score, raw)[1]
        gradient = gradient_of(score, raw)[1]
        return gradient * raw if self.method == "input_times_gradient" else gradient

    def more_figures(self, one: Classifier, raw: Tensor, classes: Tensor) -> dict[str, float]:
        if self.method != "integrated":
            return {}
        score = one.score(classes)
        with torch.no_grad():
            difference = score(raw) - score(one.space.mean.expand_as(raw))
        total = self.values(one, raw, classes).flatten(1).sum(1)
        return {
            "completeness_error": float((total - difference).abs().sum() / difference.abs().sum().clamp_min(1e-9))
        }


class GradCAM(Attribution):
    """The maps of a layer, weighed by the mean gradient of the answer's score by each of them: max(0, sum_k a_k A_k).

    Where a global average and a linear layer follow it is the class activation map (Zhou et al. 2016).
    Paper: the region that the answer is about, coarse as the layer's maps are.
    """

    kind: ClassVar[str] = "grad_cam"
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391, section 3"
    example: ClassVar[str] = "dlx analyze grad_cam runs/lenet-digits/ID"

    layer: str = Field("", description="the layer whose maps are weighed; the last that has positions")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why no layer has maps."""
        found = super().problems(subject)
        if found or (found := unknown_names(subject.graph, [self.layer])):
            return found
        names = [one.name for one in with_positions(subject.graph)]
        if not names:
            return [Problem(f"{subject.name} has no layer with maps", "Take a convolutional network.")]
        if self.layer and self.layer not in names:
            return [Problem(f"`{self.layer}` has no maps", f"The last layer that has is `{names[-1]}`.")]
        return []

    def maps(self, one: Classifier, raw: Tensor, classes: Tensor) -> Tensor:
        ends = up_to(one.network, [self.layer or with_positions(one.graph)[-1].name])
        with torch.enable_grad():
            maps, outputs = ends(one.space.to_network(raw))
            own = logits(one.objective, outputs).gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(own, maps)
        return resized(class_activation(maps.detach(), gradient), tuple(raw.shape[2:]))


class Occlusion(Attribution):
    """How much the score of the answer falls where a window of the input is covered by the mean training input.

    Each position has the mean of the windows over it. Figure: `largest_fall` (mean over inputs of the largest fall of
    the score). Paper: the score falls where the object is covered, and hardly elsewhere.
    """

    kind: ClassVar[str] = "occlusion"
    source: ClassVar[str] = "Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2"
    example: ClassVar[str] = "dlx analyze occlusion runs/lenet-digits/ID --set window=3"
    figures: ClassVar[tuple[str, ...]] = (*Attribution.figures, "largest_fall")

    window: PositiveInt | None = Field(None, description="positions of a side; null: a quarter of the input's")
    stride: PositiveInt = Field(1, description="positions between two windows")

    def maps(self, one: Classifier, raw: Tensor, classes: Tensor) -> Tensor:
        size = tuple(raw.shape[2:])
        window = tuple(min(self.window or max(1, n // 4), n) for n in size)
        falls = occlusion_map(one.score(classes), raw, window, self.stride, one.space.mean)
        return spread_over(falls, size, window, self.stride)

    def more_figures(self, one: Classifier, raw: Tensor, classes: Tensor) -> dict[str, float]:
        return {"largest_fall": float(self.maps(one, raw, classes).flatten(1).amax(1).mean())}


def _orders(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions (N, positions) that count most first, and in random order."""
    flat, generator = maps.flatten(1), torch.Generator().manual_seed(0)
    return flat.argsort(1, descending=True), torch.rand(flat.shape, generator=generator).to(flat.device).argsort(1)


def _left(one: Classifier, raw: Tensor, classes: Tensor, order: Tensor) -> list[float]:
    """Return the mean probability of a class, as part of that of whole inputs, where more and more is deleted."""
    score = one.probability(classes)
    with torch.no_grad():
        whole = score(raw)
        left = [score(deleted(raw, order, share, one.space.mean)) for share in SHARES]
    return [1.0, *(float((each / whole).mean()) for each in left)]


def _accuracies(one: Classifier, raw: Tensor, targets: Tensor, order: Tensor) -> list[float]:
    """Return the share of right answers where more and more is deleted."""
    answers = [one.predicted(deleted(raw, order, share, one.space.mean)) for share in SHARES]
    return [float((each == targets).float().mean()) for each in answers]


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return the mean over examples of Spearman's rank correlation of two maps (N, *size)."""
    from scipy.stats import rankdata

    ranks = [rankdata(one.flatten(1).cpu().numpy(), axis=1) for one in (first, second)]
    a, b = (one - one.mean(1, keepdims=True) for one in ranks)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return float(np.where(scale > 0, (a * b).sum(1) / np.where(scale > 0, scale, 1), 0).mean())


def _pictures(space: InputSpace, captions: Sequence[str], raw: Tensor, maps: Tensor, shown: int) -> tuple[Panel, ...]:
    """Return inputs with their maps: red counts for the answer, blue against it."""
    some = list(zip(captions, raw, maps, strict=True))[:shown]
    if space.is_picture:
        rows = [
            pair
            for caption, x, one in some
            for pair in ((caption, space.shown(x)), ("", diverging(one.cpu().numpy())))
        ]
        return (Panel("inputs and what counts for the answer", "", "", (Pictures(rows, 8),)),)
    axis = "position" if len(space.size) > 1 else "input"
    return tuple(
        Panel(
            f"taken for {caption}",
            axis,
            "value",
            (line_of("input", x), line_of("part in the answer", one, dashed=True)),
        )
        for caption, x, one in some
    )
