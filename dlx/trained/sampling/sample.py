"""`dlx sample`: what a trained network makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from ...data.text.recorded import recorded_tokenizer
from ...errors import DlxError, plural
from ...lazy import torch
from ...objectives import default_objective
from ...objectives.language import Language
from ...objectives.translation import Translation
from ...spec import Experiment, load
from ...text import BEGIN
from ...training import device
from ...training.checkpoints import checkpoint
from ...training.generation.decoding import Decoding, Generated, beam_search, sampled_texts
from ...training.generation.next_token import Steps, next_token
from ...training.generation.prompts import beginning, logits_of, tokens_of
from ..evaluate import input_record_of, weights_of
from ..input_sizes import graph_for
from .translate import Source

if TYPE_CHECKING:
    from ...data.input_record import InputRecord
    from ...runs.folder import RunFolder
    from ...text import Tokenizer


@dataclass(frozen=True)
class Sample:
    """One text: its tokens (n,), and the mean number of bits in which the network tells one of them."""

    text: str
    tokens: tuple[int, ...]
    bits_per_token: float
    whole: str
    """The text with the prompt before it."""

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "tokens": list(self.tokens), "bits_per_token": self.bits_per_token}


@dataclass(frozen=True)
class Sampled:
    """Texts that a network has made after a prompt.

    Attributes:
        seeds: seed of each text; empty for a beam search, which draws nothing.
        way: "steps", where each token passes the network once, or "windows", where the last ones pass anew.
    """

    run: RunFolder
    prompt: str
    samples: tuple[Sample, ...]
    seeds: tuple[int, ...]
    way: str
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts alone, without the prompt."""
        return tuple(one.text for one in self.samples)

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx sample --json`."""
        document: dict[str, Any] = {"run": self.run.key, "prompt": self.prompt, "way": self.way}
        each = [one.as_json() for one in self.samples]
        if self.seeds:
            each = [{"seed": seed, **one} for seed, one in zip(self.seeds, each, strict=True)]
        return document | {"samples": each}


def sample(
    run: RunFolder,
    n: int = 500,
    prompt: str | None = None,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    *,
    seed: int = 0,
    samples: int = 1,
    beam: int | None = None,
    name: str | None = None,
) -> Sampled:
    """Let a language model go on with a prompt for `n` tokens, or a decoder write from it until its text ends.

    Text i is drawn by seed + i, so that it is the same however many are asked for. `beam` searches the most probable
    text among as many, and draws none. `name` is the checkpoint; by default the last weights.

    Raises:
        DlxError: the run has no language model; the prompt is empty, too long, or not of its vocabulary.
    """
    device.limit_thread_spinning()
    decoding.check()
    _check_counts(n, samples, beam, decoding)
    experiment, known = load(run.file("spec.yaml")), input_record_of(run)
    objective = experiment.objective or default_objective(known.facts)
    if isinstance(objective, Translation):
        saved = name or "final"
        source = Source.of(objective.fitted(known.targets), known, run.key)
        network = _network(experiment, known, run, saved)
        with device.threads(run.threads()), torch.inference_mode():
            return _written(run, source, network, prompt, n, decoding, tuple(seed + i for i in range(samples)), beam)
    tokenizer = recorded_tokenizer(known.reading)
    if not isinstance(objective, Language) or tokenizer is None or len(known.inputs) != 1:
        message = f"{run.key} was trained for {objective.kind}, and makes no texts"
        raise DlxError(
            message, hint="Take a run with `objective: language` and `data: {text: ...}`, or `translation`."
        )
    first, notes = beginning(prompt, tokenizer)
    tokens = tokens_of(first, tokenizer)
    network = _network(experiment, known, run, name or "final")
    ((window,),) = known.inputs.values()
    with device.threads(run.threads()), torch.inference_mode():
        model = next_token(network, lambda outputs: logits_of(objective, outputs), window, tokenizer.size)
        if len(tokens) > window and (not isinstance(model, Steps) or _counts_tokens(model, tokens[:1])):
            message = f"the prompt has {plural(len(tokens), 'token')}, and the network sees {window:,} at once"
            raise DlxError(message, hint="Give a shorter one: its last words count.")
        prompt_tokens = torch.tensor([tokens])
        seeds = tuple(seed + i for i in range(samples))
        made = (
            [beam_search(model, prompt_tokens, n, beam)]
            if beam
            else sampled_texts(model, prompt_tokens, n, decoding, seeds)
        )
    return Sampled(
        run,
        first,
        tuple(_sample(one, tokens, tokenizer) for one in made),
        () if beam else seeds,
        "steps" if isinstance(model, Steps) else "windows",
        notes,
    )


def _network(experiment: Experiment, known: InputRecord, run: RunFolder, saved: str) -> Any:
    """Return the network of a run with the weights of a checkpoint."""
    from ...network import build

    network = build(graph_for(experiment, known), experiment.init).eval()
    checkpoint.load_weights(network, weights_of(run, saved), saved)
    return network


def _written(
    run: RunFolder,
    source: Source,
    network: Any,
    prompt: str | None,
    n: int,
    decoding: Decoding,
    seeds: tuple[int, ...],
    beam: int | None,
) -> Sampled:
    """Return texts that a decoder writes from a prompt, of `n` tokens at most."""
    model = source.model(network, prompt, 1 if beam else len(seeds))
    count, begin = min(n, source.limit), torch.tensor([[BEGIN]])
    made = [beam_search(model, begin, count, beam)] if beam else sampled_texts(model, begin, count, decoding, seeds)
    found = []
    for one in made:
        tokens = source.ended(one)
        text = source.decode(tokens)
        found.append(Sample(text, tokens, -one.log_probability / len(tokens) / log(2), f"{prompt}\n{text}"))
    way = "steps" if model.decoder.by_steps else "windows"
    return Sampled(run, prompt or "", tuple(found), () if beam else seeds, way)


def _check_counts(n: int, samples: int, beam: int | None, decoding: Decoding) -> None:
    for option, value in (("--n", n), ("--samples", samples), ("--beam", beam)):
        if value is not None and value < 1:
            raise DlxError(f"{option} is {value}", hint="Take 1 or more.")
    if beam is not None and (samples > 1 or decoding != Decoding()):
        message = "a beam search looks for the most probable text, and draws none"
        raise DlxError(message, hint="Leave out --beam, or --samples, --temperature, --top-k and --top-p.")


def _counts_tokens(model: Steps, tokens: Sequence[int]) -> bool:
    """Whether a network counts tokens, and so sees a window of them at most."""
    probe = Steps(model.network, model.look, model.window)
    probe.append(torch.tensor([tokens]))
    return probe.counts_tokens


def _sample(made: Generated, before: Sequence[int], tokenizer: Tokenizer) -> Sample:
    bits = -made.log_probability / len(made.tokens) / log(2)
    return Sample(tokenizer.decode(made.tokens), made.tokens, bits, tokenizer.decode([*before, *made.tokens]))
