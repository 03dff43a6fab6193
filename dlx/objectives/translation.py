"""Texts that a decoder writes from other inputs: translations, captions, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, PositiveInt, PrivateAttr, field_validator

from ..data import Facts
from ..data.base import Field as DataField
from ..data.text.fields import TextField
from ..errors import Problem, did_you_mean
from ..lazy import torch
from ..metrics.bleu import SIGNATURE, Bleu
from ..registry import Choice
from ..schedules import SCHEDULES, Schedule
from ..shapes import Shape
from .language import Language, LanguageMeters

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ..data.batch import Batch
    from ..schedules import Timeline
    from .supervised import EvaluationMeters

SHIFTED, TEXT = "shifted", "text"
"""Keys of the statistics of the targets: the name of the decoder's input, and the target as a text field."""


class Translation(Language):
    """Write a target text from other inputs of the network, each token from those before it: teacher forcing.

    The target is a field of text, and an input `shifted` from it is what the decoder sees: `<begin>` and the tokens
    before. The network gives one logit a token of the target's vocabulary at each position; the loss is the
    cross-entropy of each token that is not padding.
    Shapes: outputs (N, length, vocabulary), targets (N, length), -100 behind the end.
    Metrics: accuracy and perplexity of the tokens, each given the true ones before it; and of the texts that the
        network writes by itself, each token the most probable one, `exact_match`, the share that equals the target up
        to its end, and `bleu`, over all texts, of words between white space and without smoothing.
    With `teacher_forcing` below 1 the decoder is trained on a mixture: by this probability it sees the true token,
        else one that the network has drawn itself (scheduled sampling), without a gradient. `passes` runs of the
        network draw them; from as many as there are tokens each one is drawn from those before it, as in the source.
    Source: Sutskever et al. 2014, arXiv:1409.3215; Bengio et al. 2015, arXiv:1506.03099, and Duckworth et al. 2019,
        arXiv:1906.04331, of fewer passes; Papineni et al. 2002 of BLEU.
    """

    kind: ClassVar[str] = "translation"
    teacher_forcing: Annotated[Schedule, Choice(SCHEDULES)] = Field(
        default_factory=SCHEDULES.new("constant"), description="probability that the decoder sees the true token"
    )
    passes: PositiveInt | None = Field(
        None, le=10_000, description="runs of the network that draw the other tokens; null: as many as a target has"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "exact_match", "bleu")
    higher_is_better: ClassVar[tuple[str, ...]] = ("accuracy", "exact_match", "bleu")
    _shifted: str = PrivateAttr("")
    """Name of the decoder's input."""
    _text: TextField | None = PrivateAttr(None)

    @field_validator("teacher_forcing")
    @classmethod
    def _of_time_alone(cls, schedule: Schedule) -> Schedule:
        if schedule.watch() is not None:
            raise ValueError(f"`{schedule.kind}` follows a metric, and `teacher_forcing` goes by time: take another")
        return schedule

    # --- fields -----------------------------------------------------------------------------------------------------

    def check_fields(self, fields: Mapping[str, DataField]) -> Problem | None:
        texts = [name for name, one in fields.items() if one.role == "target" and one.text is not None]
        target = self.field or next((name for name, one in fields.items() if one.role == "target"), "")
        if target not in texts:
            has = ", ".join(f"`{name}`" for name in texts) or "none"
            message = f"translation learns a text, and the target `{target}` is none: the data has {has}"
            hint = did_you_mean(target, texts) or "`targets: {NAME: text}` of a table makes one."
            return Problem(message, hint)
        if not _shifted_from(target, fields):
            message = f"translation shows the decoder the tokens before each, and no input is shifted from `{target}`"
            return Problem(message, f"Write `so_far: {{shifted: {target}}}` under `inputs` of the data.")
        return None

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.classes is None or facts.target is None or facts.target.rank != 1:
            return None  # no text: `check_fields` tells it
        (length,) = facts.target
        if tuple(output) == (length, facts.classes):
            return self.check_loss(facts.classes)
        name = facts.target_name
        message = f"the network ends in {output}, and the target `{name}` has {facts.classes:,} tokens at {length:,} "
        hint = f"Let the last layer be `linear: ${{data.fields.{name}.vocabulary}}`."
        if len(output) != 2 or output[0] != length:
            hint = f"Its end must have the positions of the decoder's input, which is shifted from `{name}`. {hint}"
        return Problem(f"{message}positions", hint)

    def field_statistics(
        self, fields: Mapping[str, DataField], target: str, reading: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {SHIFTED: _shifted_from(target, fields), TEXT: reading["texts"][target]}

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        copy = super().fitted(statistics)
        if SHIFTED in statistics:
            copy = copy.model_copy() if copy is self else copy
            copy._shifted, copy._text = statistics[SHIFTED], TextField.from_json(statistics[TEXT])
        return copy

    @property
    def written(self) -> TextField:
        """The target as a text field, with its tokenizer."""
        assert self._text is not None, "it is not fitted"
        return self._text

    def causal_input(self, inputs: Sequence[str], main: str) -> str:
        return self._shifted

    # --- training ---------------------------------------------------------------------------------------------------

    @property
    def mixes_inputs(self) -> bool:
        return self.teacher_forcing.kind != "constant"

    def forcing(self, step: int, timeline: Timeline) -> float:
        return self.teacher_forcing.at(step, timeline)

    def mixed_inputs(
        self, call: Callable[..., Any], batch: Batch, forcing: float, rng: torch.Generator
    ) -> Sequence[Tensor]:
        inputs, place = list(batch.inputs), batch.names.inputs.index(self._shifted)
        true = inputs[place]
        if forcing >= 1:
            return inputs
        keep = torch.rand(true.shape, generator=rng) < forcing
        keep[:, 0] = True
        keep = keep.to(true.device) | (true == 0)
        noise: Tensor | None = None
        with torch.no_grad():
            for _ in range(self.passes or true.shape[1] - 1):
                logits = self.main(call(*inputs)).float()
                if noise is None:
                    # the largest of logits and Gumbel noise is a draw; the same noise in each pass, so that what was
                    # drawn from the right tokens stays
                    noise = -torch.empty(logits.shape).exponential_(generator=rng).log().to(logits.device)
                sampled = (logits + noise).argmax(1)
                inputs[place] = true.where(keep, sampled.roll(1, 1))
        return inputs

    # --- evaluation -------------------------------------------------------------------------------------------------

    def evaluation(self, parameters: Mapping[str, Tensor] | None = None) -> EvaluationMeters:
        return TranslationMeters(self, None)

    def write(self, network: fx.GraphModule, inputs: Sequence[Tensor], names: Sequence[str]) -> Tensor:
        """Return the texts (N, length) that a network writes, each token the most probable one.

        Arguments:
            inputs: those of the network (N, ...), in its order; of the decoder's only the shape counts.
            names: the field of each.
        """
        from ..modules import decoder

        place = list(names).index(self._shifted)
        limit = inputs[place].shape[1]
        by_steps = decoder.goes_by_steps(network, self.logits, inputs, place)
        one = decoder.Decoder(network, self.logits, inputs, place, limit, by_steps=by_steps)
        return decoder.greedy(one, len(inputs[place]))

    def logits(self, outputs: Any) -> Tensor:
        """Return the main output, (N, length, vocabulary)."""
        return self.main(outputs).movedim(1, -1)


class TranslationMeters(LanguageMeters):
    """Accumulates loss and metrics of tokens, and those of the texts that the network writes by itself."""

    objective: Translation

    def __init__(self, objective: Translation, characters: None) -> None:
        super().__init__(objective, characters)
        self.bleu, self.right, self.texts = Bleu(), 0, 0

    def generate(self, network: Any, batch: Batch) -> None:
        written = self.objective.write(network, batch.inputs, batch.names.inputs)
        target: Tensor = self.objective.target(batch).clamp_min(0)  # padding, as in what is written
        self.right += int((written == target).all(1).sum())
        self.texts += len(target)
        text = self.objective.written
        for made, wanted in zip(written.tolist(), target.tolist(), strict=True):
            self.bleu.add(text.decode(made), text.decode(wanted))

    def result(self) -> dict[str, float]:
        found = super().result()
        del found["bits_per_token"]
        if self.texts:
            found |= {"exact_match": self.right / self.texts, "bleu": self.bleu.result()}
        return found

    def notes(self, class_names: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, str]:
        return super().notes(class_names) | ({"bleu": f"by dlx, {SIGNATURE}"} if self.texts else {})


def _shifted_from(target: str, fields: Mapping[str, DataField]) -> str:
    """Return the input that is shifted from a target; empty where there is none."""
    return next((n for n, one in fields.items() if one.text is not None and one.text.shifted == target), "")
