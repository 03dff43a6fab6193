"""Language models: the next token at each position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr

from ..data import Facts
from ..data.text.windows import Windows
from ..errors import Problem
from ..lazy import F, torch
from ..metrics import Mean, Mode
from ..shapes import Shape
from .at_positions import AtPositions
from .supervised import EvaluationMeters

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Outputs

CHARACTERS = "characters"
"""Key of the statistics of the targets: characters that each token stands for, or 1 where all stand for one."""
PER_CHARACTER = "bits_per_character"


class Language(AtPositions):
    """Tell the next token at each position of a text; the network gives one logit a token of the vocabulary there.

    Shapes: outputs (N, window, vocabulary), targets (N, window), -100 where none counts. The network must be causal:
        what it gives at a position depends on no later token. That is measured before the training.
    Metrics: with L the mean cross-entropy of the tokens in nats, `perplexity` = exp(L) and `bits_per_token` =
        L / ln 2; `bits_per_character`, the bits of all tokens divided by the characters that they stand for, by which
        tokenizers can be compared; and accuracy. Of bytes a character counts where it begins, of words white space
        does not. Others that can be asked for: those of classes.
    Source: Jurafsky & Martin, Speech and Language Processing, 3rd edition, section 3.3; of bits a character Graves
        2013, arXiv:1308.0850, section 3.
    """

    kind: ClassVar[str] = "language"
    also_measured: ClassVar[tuple[str, ...]] = (PER_CHARACTER,)
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "bits_per_token", PER_CHARACTER)
    _characters: list[int] | int | None = PrivateAttr(None)
    """Characters that each token stands for; None where the data is no text."""

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None or facts.target is None or facts.target.rank != 1:
            has = "a class for each example" if facts.target is None else f"targets of shape {facts.target}"
            return Problem(f"language wants a token at each position, and the data has {has}", "Take `data: text`.")
        if not self.loss.on_maps:
            message = f"the loss {self.loss.kind} wants one target an example, and language has one a position"
            return Problem(message, "Use `loss: cross_entropy`.")
        (window,) = facts.target
        if tuple(output) == (window, facts.classes):
            return self.check_loss(facts.classes)
        message = f"the network ends in {output}, and the data has {facts.classes:,} tokens at {window:,} positions"
        hint = "Let the last layer be `linear: ${data.vocabulary}`."
        if len(output) != 2 or output[0] != window:
            hint = f"Keep the axis of the {window:,} positions, as `flatten` does not, and end in the tokens. {hint}"
        return Problem(message, hint)

    def causal_input(self, inputs: Sequence[str], main: str) -> str:
        """Return the input that holds the tokens before each one that is told, among those of the network."""
        return main

    # --- evaluation -------------------------------------------------------------------------------------------------

    def target_statistics(
        self, targets: Any, classes: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Any]:
        found = super().target_statistics(targets, classes, names)
        if isinstance(targets, Windows):
            lengths = targets.file.lengths
            found[CHARACTERS] = 1 if set(lengths) == {1} else list(lengths)
        return found

    def positives(self, targets: Any, classes: int | None) -> tuple[list[int], int]:
        # whole in memory: `balanced` is for small texts
        return super().positives(targets[:], classes)

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        copy = super().fitted(statistics)
        copy = copy.model_copy() if copy is self else copy
        copy._characters = statistics.get(CHARACTERS)
        return copy

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"accuracy": super().measure(output, target)["accuracy"]}

    def modes(self) -> dict[str, Mode]:
        known = super().modes()
        return known if self._characters is not None else {n: m for n, m in known.items() if n != PER_CHARACTER}

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return LanguageMeters(self, self._characters)


class LanguageMeters(EvaluationMeters):
    """Accumulates loss and metrics, and the cross-entropy of all tokens with the characters that they stand for."""

    def __init__(self, objective: Language, characters: list[int] | int | None) -> None:
        super().__init__(objective)
        self.characters = characters
        self.entropy = Mean()
        self.count: Tensor | float = 0.0
        self.lengths: Tensor | None = None

    def add(self, outputs: Outputs, target: Tensor) -> None:
        super().add(outputs, target)
        ignored = self.objective.loss.ignores()
        counted = torch.ones_like(target, dtype=torch.bool) if ignored is None else target != ignored
        count = counted.sum()
        output = self.objective.main(outputs)
        entropy = F.cross_entropy(output, target.where(counted, -100), reduction="sum")
        self.entropy.add(entropy / count.clamp_min(1), count)
        if isinstance(self.characters, list):
            if self.lengths is None:
                self.lengths = torch.tensor(self.characters, device=target.device)
            self.count = self.count + self.lengths[target.where(counted, 0)].where(counted, 0).sum()
        elif self.characters is not None:
            self.count = self.count + count * self.characters

    def result(self) -> dict[str, float]:
        nats, tokens = float(self.entropy.compute()), float(self.entropy.count)
        characters = float(self.count) if self.characters is not None else None
        return super().result() | of_entropy(nats, tokens, characters)


def of_entropy(nats: float, tokens: float, characters: float | None) -> dict[str, float]:
    """Return the metrics that follow from the mean cross-entropy of so many tokens, in nats.

    `characters` are those that the tokens stand for; None where the data is no text.
    """
    found = {"perplexity": exponential(nats), "bits_per_token": nats / log(2)}
    if characters is not None:
        found[PER_CHARACTER] = nats * tokens / log(2) / characters if characters else float("nan")
    return found


def exponential(value: float) -> float:
    """Return e to a power; infinity beyond the largest number."""
    return exp(value) if value < 709 else float("inf")
