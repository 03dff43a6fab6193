"""Adversarial examples: how the accuracy falls with the size of a change, and whether it fools other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...registry import AsWord, NotBoolean
from ...spec.analyses import Analysis
from ..measures.attacks import OVERSHOOT, Ball, fast_gradient, lengths, projected_gradient, smallest_changes
from ..measures.classifier import Classifier, classifier_problems
from ..measures.input_space import panels_of
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ..subject import Subject

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Perturbations as parts of the range of the inputs, where none are listed."""
SHOWN = 8
"""Examples that are shown with their change."""


class Adversarial(Analysis):
    """Accuracy on inputs that are changed against a classifier, by the size of the change.

    `fgsm` moves each value by the perturbation in the direction in which the loss grows; `pgd` climbs the loss in
    small steps within the perturbation; `deepfool` looks for the smallest L2 change to the boundary of another class,
    which of a linear classifier is |w.x + b| / ||w||. Sizes are those of inputs before preprocessing: of pictures
    from 0 to 1, 0.03 is 8 of 256 levels. Beside it the accuracy under random changes of the same size, and further
    runs, which get the images that were made against the first (transfer).
    Figures: `accuracy` without a change, `accuracy_least` and `random_accuracy` at the largest, `lost` (share of all
    examples whose right answer the largest turns wrong), `fooled` (the same as share of the right answers),
    `half` (size at which half of the accuracy is gone), `smallest_change` (median; `deepfool`) and `found` (share of
    all examples whose right answer some change turns wrong), `transfer_before` and `transfer_accuracy` of the second
    run.
    Books: for each sample image a change too small to see turns the answer wrong (Nielsen, chapter 6); changes made
    against one network turn others' answers too (Russell & Norvig, section 22.5.1).
    """

    kind: ClassVar[str] = "adversarial"
    source: ClassVar[str] = (
        "Goodfellow et al. 2015, arXiv:1412.6572; Madry et al. 2018, arXiv:1706.06083; Nielsen, chapter 6; "
        "Russell & Norvig, section 22.5.1"
    )
    example: ClassVar[str] = "dlx analyze adversarial runs/lenet-digits/ID --set attack=pgd"
    figures: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "accuracy_least",
        "random_accuracy",
        "half",
        "transfer_before",
        "transfer_accuracy",
        "smallest_change",
        "smallest_change_share",
        "found",
        "lost",
        "fooled",
    )
    trained: ClassVar[bool] = True
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"

    field_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("epsilon", "epsilons", "eps"), "Did you mean `perturbations`? It is a list: `perturbations: [0.1, 0.2]`."
    )

    attack: Literal["pgd", "fgsm", "deepfool"] = Field("pgd", description="how a change is found")
    norm: Annotated[Literal["inf", 2], NotBoolean, AsWord] = Field(
        "inf", description="what the size of a change is: the largest of a value, or its L2 norm, as of `deepfool`"
    )
    perturbations: list[PositiveFloat] = Field(
        [], description="sizes of the change; of none, 1 to 20 % of the range of the inputs in every value"
    )
    steps: PositiveInt = Field(20, description="of `pgd`, and at most of `deepfool`")
    examples: PositiveInt = Field(256, description="inputs that are attacked, at most")
    part: str = Field("", description="their part of the data; test, else valid, else train")

    def without_effect(self) -> dict[str, str]:
        if self.attack == "fgsm":
            return {"steps": "with `attack: fgsm`, which takes one"}
        l2 = {"norm": "with `attack: deepfool`: its changes are small in L2"}
        return l2 if self.attack == "deepfool" and self.norm == "inf" else {}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why it is no classifier, or further runs take other inputs or classes."""
        first, *others = subject.each
        found = [problem for one in subject.each for problem in classifier_problems(one)]
        if found:
            return found[:1]
        shape, classes = first.facts.input, first.facts.classes
        for other in others:
            now = other.facts.input, other.facts.classes
            if now != (shape, classes):
                message = (
                    f"{other.name} takes {now[0]} and has {now[1]} classes, and {first.name} {shape} and {classes}"
                )
                found.append(
                    Problem(message, "Images made against one network are shown to others of the same data.")
                )
        return found

    def run(self, subject: Subject) -> Result:
        """Attack the first run, and show what was made to all of them."""
        classifiers = [Classifier.of(one) for one in subject.each]
        first, space = classifiers[0], classifiers[0].space
        batch = subject.examples(self.examples, part=self.part)
        x, y = space.to_raw(batch.inputs[0]), subject.supervised.target(batch)
        sizes = self._sizes(space.range, x[0].numel())
        made = self._attacked(first, x, y, sizes)
        noise = self._noise(first, x, sizes)
        by_size = [[_accuracy(one, each, y) for each in (x, *made)] for one in classifiers]
        random = [_accuracy(first, each, y) for each in (x, *noise)]
        figures = self._figures(by_size, random, sizes) | self._smallest(first, x, y)
        right, turned = first.predicted(x) == y, first.predicted(made[-1]) != y
        figures["lost"] = float((right & turned).float().mean())
        figures["fooled"] = float(turned[right].float().mean()) if right.any() else 0.0
        places = [0.0, *sizes]
        lines = [Lines(subject.each[0].name if len(by_size) > 1 else self.attack, places, by_size[0])]
        lines += [
            Lines(f"{one.name} (transfer)", places, y) for one, y in zip(subject.each[1:], by_size[1:], strict=True)
        ]
        lines.append(Lines("random change", places, random, dashed=True))
        title = "change of a value" if self._norm == "inf" else "L2 norm of the change"
        rows = [[size, *(one[i] for one in by_size), random[i]] for i, size in enumerate(places)]
        titles = (title, *(f"accuracy of {one.name}" for one in subject.each), "accuracy under random changes")
        pictures = self._pictures(first, subject.class_names(), x, y, made, sizes)
        return Result(figures, (Panel("accuracy", title, "accuracy", tuple(lines)), *pictures), (titles, rows))

    @property
    def _norm(self) -> Literal["inf", "2"]:
        return "inf" if self.norm == "inf" and self.attack != "deepfool" else "2"

    def _sizes(self, span: float, values: int) -> list[float]:
        """Return the perturbations in rising order; an L2 norm is that of the same change of every value."""
        if self.perturbations:
            return sorted(self.perturbations)
        return [share * span * (1 if self._norm == "inf" else values**0.5) for share in SHARES]

    def _attacked(self, one: Classifier, x: Tensor, y: Tensor, sizes: Sequence[float]) -> list[Tensor]:
        """Return changed inputs of each size, (N, *shape)."""

        def losses(moved: Tensor) -> Tensor:
            return one.losses(moved, y)

        balls = [Ball(size, self._norm, one.space.limits) for size in sizes]
        if self.attack == "fgsm":
            return [fast_gradient(losses, x, ball) for ball in balls]
        if self.attack == "deepfool":
            change = (1 + OVERSHOOT) * smallest_changes(one.margins, x, self.steps).nan_to_num(torch.inf)
            right = (one.predicted(x) == y).view(-1, *(1,) * (x.dim() - 1))
            size = lengths(change)
            return [torch.where(right & (size <= ball.radius), x + change.nan_to_num(posinf=0), x) for ball in balls]
        generator = torch.Generator().manual_seed(0)
        made, worst = [], x
        for ball in balls:
            found = projected_gradient(losses, x, ball, self.steps, generator)
            # what turned the answer within a smaller change is within this one too
            turned = ((one.predicted(worst) != y) & (one.predicted(found) == y)).view(-1, *(1,) * (x.dim() - 1))
            worst = torch.where(turned, worst, found)
            made.append(worst)
        return made

    def _noise(self, one: Classifier, x: Tensor, sizes: Sequence[float]) -> list[Tensor]:
        """Return inputs with random changes of each size: of random signs, or of random directions."""
        generator = torch.Generator().manual_seed(1)
        normal = torch.randn(x.shape, generator=generator).to(x.device)
        balls = [Ball(size, self._norm, one.space.limits) for size in sizes]
        return [ball.within(x + ball.radius * ball.steepest(normal)) for ball in balls]

    def _figures(
        self, by_size: Sequence[Sequence[float]], random: Sequence[float], sizes: Sequence[float]
    ) -> dict[str, float]:
        own = by_size[0]
        found = {"accuracy": own[0], "accuracy_least": own[-1], "random_accuracy": random[-1]}
        below = [i for i, value in enumerate(own) if value <= own[0] / 2]
        if below and own[0]:
            i, places = below[0], [0.0, *sizes]
            share = (own[i - 1] - own[0] / 2) / (own[i - 1] - own[i])
            found["half"] = places[i - 1] + share * (places[i] - places[i - 1])
        if len(by_size) > 1:
            found |= {"transfer_before": by_size[1][0], "transfer_accuracy": by_size[1][-1]}
        return found

    def _smallest(self, one: Classifier, x: Tensor, y: Tensor) -> dict[str, float]:
        """Return the median size of the smallest changes that turn right answers, for `deepfool`."""
        right = one.predicted(x) == y
        if self.attack != "deepfool" or not right.any():
            return {}
        sizes = lengths(smallest_changes(one.margins, x[right], self.steps)).flatten()
        turned = ~sizes.isnan()
        return {
            "smallest_change": float(sizes.nan_to_num(torch.inf).median()),
            "smallest_change_share": float(
                sizes.nan_to_num(torch.inf).median() / x[right].flatten(1).norm(dim=1).mean()
            ),
            "found": float(turned.sum()) / len(x),
        }

    def _pictures(
        self,
        one: Classifier,
        names: Sequence[str],
        x: Tensor,
        y: Tensor,
        made: Sequence[Tensor],
        sizes: Sequence[float],
    ) -> tuple[Panel, ...]:
        """Return right answers with the least listed change that turns them: as they were, the change, after."""
        tables = torch.stack([one.predicted(each) != y for each in made])
        rows = torch.nonzero((one.predicted(x) == y) & tables.any(0)).flatten()[:SHOWN].tolist()
        shown: list[tuple[str, Any]] = []
        for row in rows:
            size = int(tables[:, row].float().argmax())
            after = made[size][row]
            change = after - x[row]
            middle = sum(one.space.limits) / 2
            scaled = middle + change * (one.space.range / 2 / (float(change.abs().max()) or 1.0))
            label = names[int(one.predicted(after[None])[0])]
            shown += [
                (names[int(y[row])], x[row]),
                (f"change of {np.format_float_positional(sizes[size], 2, fractional=False)}", scaled),
                (label, after),
            ]
        return panels_of("examples, their changes, and the answers", one.space, shown, 6) if shown else ()


def _accuracy(one: Classifier, x: Tensor, y: Tensor) -> float:
    return float((one.predicted(x) == y).float().mean())
