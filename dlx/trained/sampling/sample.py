"""`dlx sample`: what a trained network makes."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.text.recorded import recorded_tokenizer
from ...errors import DlxError, plural
from ...lazy import torch
from ...objectives import Supervised, default_objective
from ...objectives.language import Language
from ...objectives.translation import Translation
from ...spec import Experiment, load
from ...text import BEGIN
from ...training import device, process
from ...training.checkpoints import checkpoint
from ...training.generation.decoding import Decoding, beam_search, sampled_texts
from ...training.generation.next_token import Steps, next_token
from ...utils import option_bounds
from ..evaluate import input_record_of, weights_of
from ..input_sizes import graph_for
from ..row_files import write_whole
from . import waves as wave_files
from .forms import Form, Sample
from .texts import Texts, TextSample
from .translate import Source
from .waves import Waves, WaveSample

if TYPE_CHECKING:
    from ...data.input_record import InputRecord
    from ...runs.folder import RunFolder
    from ...spec import Experiment
    from .waves import Wave


@dataclass(frozen=True)
class Sampled:
    """Texts or waves that a network has made after a prompt.

    Attributes:
        prompt: the text before, or the name of the wave; None after silence.
        seeds: seed of each sample; empty for a beam search, which draws nothing.
        way: "steps", where each token passes the network once, or "windows", where the last ones pass anew.
    """

    run: RunFolder
    prompt: str | None
    samples: tuple[Sample, ...]
    seeds: tuple[int, ...]
    way: str
    notes: tuple[str, ...] = ()

    @property
    def are_waves(self) -> bool:
        """Whether the samples are waves."""
        return isinstance(self.samples[0], WaveSample)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts alone, without the prompt."""
        return tuple(one.text for one in self.samples if isinstance(one, TextSample))

    @property
    def waves(self) -> tuple[Wave, ...]:
        """Return the waves alone, without the prompt, (n,) each."""
        return tuple(one.values for one in self.samples if isinstance(one, WaveSample))

    def lines(self, echo: bool = False) -> list[str]:
        """Return each text, with the prompt before it by `echo`, or a table of the waves."""
        if self.are_waves:
            return [wave_files.table(self._titles, self._all_waves(echo)).decode().rstrip("\n")]
        return [one.whole if echo else one.text for one in self.samples if isinstance(one, TextSample)]

    def write(self, path: Path, echo: bool = False, rate: int = wave_files.RATE) -> None:
        """Write the texts to a file of text, or the waves to .wav, .npy or .csv."""
        if self.are_waves:
            wave_files.write(path, self._titles, self._all_waves(echo), rate)
        else:
            write_whole(path, "\n---\n".join([*self.lines(echo)]).encode() + b"\n")

    @property
    def _titles(self) -> list[str]:
        return [f"seed {seed}" for seed in self.seeds] or ["beam"]

    def _all_waves(self, echo: bool) -> list[Wave]:
        return [one.whole if echo else one.values for one in self.samples if isinstance(one, WaveSample)]

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
    prompt: Any = None,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
    *,
    seed: int = 0,
    samples: int = 1,
    beam: int | None = None,
    name: str | None = None,
    output: Path | None = None,
) -> Sampled:
    """Let a network go on with a prompt for `n` tokens: a text, or a wave as a file or an array; or a decoder write
    from it until its text ends.

    Sample i is drawn by seed + i, so that it is the same however many are asked for. `beam` searches the most
    probable one among as many, and draws none. `name` is the checkpoint; by default the last weights. `output` is a
    file that will hold the samples: whether it can is checked first.

    Raises:
        DlxError: the network tells no next token; the prompt is empty, too long, or not of its vocabulary.
    """
    process.tune()
    decoding.check()
    _check_counts(n, samples, beam, decoding)
    option_bounds.check_seed("--seed", seed, samples)
    experiment, known = load(run.file("spec.yaml")), input_record_of(run)
    saved = name or "final"
    objective = experiment.objective or default_objective(known.facts)
    if isinstance(objective, Translation):
        source = Source.of(objective.fitted(known.targets), known, run.key)
        network = _network(experiment, known, run, saved)
        with device.threads(run.threads()), torch.inference_mode():
            return _written(run, source, network, prompt, n, decoding, tuple(seed + i for i in range(samples)), beam)
    form = _form(experiment, known, run)
    if output is not None and isinstance(form, Waves):
        wave_files.check_output(output, samples)
    beginning = form.beginning(prompt)
    network = _network(experiment, known, run, saved)
    with device.threads(run.threads()), torch.inference_mode():
        model = next_token(network, form.logits, form.window, form.size, form.inputs)
        count = len(beginning.tokens)
        if count > form.window and (not isinstance(model, Steps) or model.counts_tokens):
            message = f"the prompt has {plural(count, form.unit)}, and the network sees {form.window:,} at once"
            raise DlxError(message, hint=f"Give a shorter one: its last {form.unit}s count.")
        before = torch.tensor([list(beginning.tokens)])
        seeds = tuple(seed + i for i in range(samples))
        made = [beam_search(model, before, n, beam)] if beam else sampled_texts(model, before, n, decoding, seeds)
    found = tuple(form.sample(one, beginning.tokens) for one in made)
    way = "steps" if isinstance(model, Steps) else "windows"
    return Sampled(run, beginning.name, found, () if beam else seeds, way, beginning.notes)


def _form(experiment: Experiment, known: InputRecord, run: RunFolder) -> Form:
    """Return what the tokens of a run are. DlxError where it tells no next one."""
    objective = experiment.objective or default_objective(known.facts)
    tokenizer = recorded_tokenizer(known.reading)
    codes = None if experiment.data is None else experiment.data.codes()
    one = len(known.inputs) == 1
    if one and isinstance(objective, Language) and tokenizer is not None:
        return Texts(objective, tokenizer, next(iter(known.inputs.values()))[0])
    if one and isinstance(objective, Supervised) and codes is not None and known.facts.classes is not None:
        if known.steps:
            hint = "Train with `standardize: none`: values from -1 to 1 need none."
            raise DlxError(f"{run.key} was trained on waves that were preprocessed, and goes on with none", hint=hint)
        return Waves(objective, codes, known.facts.classes, next(iter(known.inputs.values()))[-1])
    message = f"{run.key} was trained for {objective.kind}, and makes no texts or waves"
    hint = "Take a run with `objective: language`, `translation`, or of `data: {waves: {mu_law: 256}}`."
    raise DlxError(message, hint=hint)


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
        found.append(TextSample(tokens, -one.log_probability / len(tokens) / log(2), text, f"{prompt}\n{text}"))
    way = "steps" if model.decoder.by_steps else "windows"
    return Sampled(run, prompt or "", tuple(found), () if beam else seeds, way)


def _check_counts(n: int, samples: int, beam: int | None, decoding: Decoding) -> None:
    option_bounds.check("--n", n, option_bounds.TOKENS)
    option_bounds.check("--samples", samples, max(1, option_bounds.TOKENS // n))
    option_bounds.check("--beam", beam, option_bounds.BEAMS)
    if beam is not None and (samples > 1 or decoding != Decoding()):
        message = "a beam search looks for the most probable text, and draws none"
        raise DlxError(message, hint="Leave out --beam, or --samples, --temperature, --top-k and --top-p.")
