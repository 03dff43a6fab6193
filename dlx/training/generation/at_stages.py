"""Texts and sheets at stages of a training, as `train.samples` asks for them; nothing of it depends on them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import DlxError, Problem, SpecError, plural
from ...lazy import torch
from ...spec import Experiment
from ...spec.sections.samples import SHEET, TOKENS
from ...text import Tokenizer, restored
from . import drawings
from .decoding import Decoding, sampled_texts
from .next_token import next_token
from .prompts import beginning, logits_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from ...data import Sets
    from ...objectives import Objective
    from ...objectives.language import Language
    from ...spec.sections.samples import Samples
    from ..fit import Job


class AtStages(Protocol):
    """Makes files of what the networks of a training make at the moment."""

    def files(self, job: Job) -> Mapping[str, bytes]:
        """Return the contents of files by what their names end in."""


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

    def files(self, job: Job) -> Mapping[str, bytes]:
        """Return the text that the network of a training writes."""
        return {".txt": self.text(job.network).encode()}

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
            (made,) = sampled_texts(model, torch.tensor([self.tokens]), asked.n or TOKENS, decoding, [asked.seed])
        return self.tokenizer.decode([*self.tokens, *made.tokens])


@dataclass(frozen=True)
class StageSheets:
    """Draws what the objective of a training shows of its networks."""

    samples: Samples

    def files(self, job: Job) -> Mapping[str, bytes]:
        """Return a sheet for each of the pictures of the objective."""
        rng = torch.Generator().manual_seed(self.samples.seed)
        sheets = drawings.pictures(job, self.samples.n or SHEET, rng)
        return {f"-{name}{one.suffix}": one.as_bytes() for name, one in sheets.items()}


def made_of(experiment: Experiment, objective: Objective, sets: Sets) -> AtStages | None:
    """Return what makes the texts or sheets of a training; None where the spec asks for none.

    SpecError where its prompt is not of the vocabulary, or is longer than the window.
    """
    asked = experiment.train.samples if experiment.train is not None else None
    if asked is None:
        return None
    if objective.makes_samples:
        return StageSheets(asked)
    from ...data.text.text import Text
    from ...objectives.language import Language

    if not isinstance(objective, Language) or not isinstance(experiment.data, Text):
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
