"""Texts at stages of a training, as `train.samples` asks for them; nothing of the training depends on them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...data.text.text import Text
from ...errors import DlxError, Problem, SpecError, plural
from ...lazy import torch
from ...objectives.language import Language
from ...spec import Experiment
from ...text import Tokenizer, restored
from .decoding import Decoding, sampled_texts
from .next_token import next_token
from .prompts import beginning, logits_of, tokens_of

if TYPE_CHECKING:
    from torch import nn

    from ...data import Sets
    from ...objectives import Objective
    from ...spec.sections.samples import Samples


@dataclass(frozen=True)
class StageTexts:
    """Writes a text with the weights that a network has at the moment.

    `tokens` are those of the prompt; the network sees a `window` at once.
    """

    samples: Samples
    tokenizer: Tokenizer
    objective: Language
    window: int
    tokens: tuple[int, ...]

    def text(self, network: nn.Module) -> str:
        """Return the prompt and what the network goes on with."""
        # a copy: neither its mode nor its buffers are those of the training
        own: Any = copy.deepcopy(network).cpu().eval()
        asked = self.samples
        decoding = Decoding(asked.temperature, asked.top_k, asked.top_p)
        with torch.inference_mode():
            model = next_token(
                own, lambda outputs: logits_of(self.objective, outputs), self.window, self.tokenizer.size
            )
            (made,) = sampled_texts(model, torch.tensor([self.tokens]), asked.n, decoding, [asked.seed])
        return self.tokenizer.decode([*self.tokens, *made.tokens])


def texts_of(experiment: Experiment, objective: Objective, sets: Sets) -> StageTexts | None:
    """Return what writes the texts of a training; None where the spec asks for none.

    SpecError where its prompt is not of the vocabulary, or is longer than the window.
    """
    asked = experiment.train.samples if experiment.train is not None else None
    if asked is None or not isinstance(objective, Language) or not isinstance(experiment.data, Text):
        return None
    tokenizer, window = restored(sets.reading["tokenizer"]), experiment.data.window
    place, path = experiment.place("train", "samples", "prompt"), "train.samples.prompt"
    try:
        tokens = tokens_of(beginning(asked.prompt, tokenizer)[0], tokenizer)
    except DlxError as error:
        raise SpecError(*(Problem(one.message, one.hint, place, path) for one in error.problems)) from None
    if len(tokens) > window:
        message = f"the prompt has {plural(len(tokens), 'token')}, and the network sees {window:,} at once"
        raise SpecError(Problem(message, "Give a shorter one: its last words count.", place, path))
    return StageTexts(asked, tokenizer, objective, window, tuple(tokens))


def problems(experiment: Experiment, objective: Objective) -> list[Problem]:
    """Return a problem where texts are asked for of what makes none."""
    if experiment.train is None or experiment.train.samples is None:
        return []
    if isinstance(objective, Language) and isinstance(experiment.data, Text):
        return []
    data = experiment.data.kind if experiment.data is not None else ""
    message = f"`samples` are texts of a language model, and here {objective.kind} learns from `{data}`"
    hint = "Take `objective: language` and `data: {text: ...}`, or leave `samples` out."
    return [Problem(message, hint, experiment.place("train", "samples"), "train.samples")]
