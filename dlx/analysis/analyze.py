"""`dlx analyze`: a kind with its options, applied to a spec or to runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_origin

from ..errors import DlxError, Mark, Problem, SpecError, did_you_mean, with_article
from ..lazy import torch
from ..runs import lookup
from ..runs.folder import RunFolder
from ..spec import hydra_grammar, load, overrides, shipped
from ..spec.analyses import ANALYSES, Analysis
from ..spec.section_names import SECTIONS
from ..spec.syntax.read import Node, located
from ..spec.validation import choose
from ..training import device, process
from . import fitting
from .result import Result
from .subject import FINAL, Subject, of_runs, of_spec

LARGE_BATCH = 512
"""Examples that analyses compute at once, most of them at most."""


@dataclass(frozen=True)
class Analyzed:
    """An analysis with what it found."""

    name: str
    analysis: Analysis
    subject: Subject
    result: Result

    @property
    def kind(self) -> str:
        return type(self.analysis).kind

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx analyze --json`."""
        options = self.analysis.model_dump(mode="json")
        about = {"name": self.name, "kind": self.kind, "of": self.subject.name, "options": options}
        more = {"source": type(self.analysis).source, "runs": [one.key for one in self.subject.runs]}
        return {**about, **more, **self.result.as_json()}


def subject_of(
    names: Sequence[str],
    changes: Sequence[str] = (),
    runs: Path = Path("runs"),
    checkpoint: str = "",
    plugins: Sequence[str] = (),
) -> Subject:
    """Return the spec, or the runs, that texts name. DlxError where there are none, or overrides of a run."""
    specs = [name for name in names if is_spec(name)]
    if not names:
        raise DlxError("there is nothing to look at", hint="Name a spec or runs: `dlx analyze KIND SPEC`.")
    if specs and len(names) > 1:
        hint = "Name one spec, or runs: `dlx train SPEC` makes one."
        raise DlxError(f"an analysis looks at one spec or at runs, and not at {' and '.join(names)}", hint=hint)
    if specs:
        if checkpoint:
            raise DlxError(f"`{specs[0]}` is a spec, and `--checkpoint` is of runs", hint="Leave it out.")
        of = of_spec(lookup.with_source(load(Path(specs[0]), changes, plugins=plugins), runs))
        return replace(of, root=runs)
    found = [_run_of(name, runs) for name in names]
    keys = [run.key for run in found]
    if twice := next((key for key in keys if keys.count(key) > 1), ""):
        raise DlxError(f"{twice} is named twice, and is one network", hint="Name it once.")
    if changes:
        message = f"{found[0].key} is a run, whose spec stays what it was trained with: `{changes[0]}`"
        raise DlxError(message, hint="Options of the analysis are `--set option=value`; overrides are for a SPEC.")
    return replace(of_runs(found, checkpoint or FINAL), root=runs)


def _run_of(name: str, runs: Path) -> RunFolder:
    """Return the run that a text names. DlxError where there is none; of the name of a file, as of a spec."""
    try:
        return lookup.find(name, runs)
    except DlxError as error:
        if Path(name).suffix in shipped.SUFFIXES:
            load(Path(name))  # tells the files of a similar name
        problem = error.problems[0]
        near = did_you_mean(name, shipped.names()).partition("There are")[0]
        if name in shipped.folders():
            near = f"`dlx specs {name}` lists the specs of that folder."
        hint = f"{near} {problem.hint}".strip()
        raise DlxError(f"`{name}` is no spec, and {problem.message}", hint=hint) from error


def check_order(word: str, places: Sequence[str], changes: Sequence[str]) -> None:
    """Raise DlxError where a spec stands in the place of the kind, or an option of the kind among the overrides."""
    kinds = [name for name in places if name in ANALYSES]
    if word not in ANALYSES and is_spec(word) and (kinds or not places or not word.isidentifier()):
        hint = f"Write `dlx analyze {kinds[0] if kinds else 'KIND'} {word}`."
        raise DlxError(f"`{word}` is a spec, and what is looked at comes first", hint=hint + SHOWS_ALL * (not kinds))
    for text in changes if word in ANALYSES else ():
        key = text.partition("=")[0].lstrip("+")
        if key in ANALYSES[word].model_fields and key not in SECTIONS:
            message = f"`{text}` stands among the changes of the spec, and `{key}` is an option of `{word}`"
            raise DlxError(message, hint=f"Write `--set {text}`.")


SHOWS_ALL = " `dlx analyze --list` has all kinds."


def is_spec(name: str) -> bool:
    """Whether a text names a spec: a file of the user, or one that dlx ships."""
    place = shipped.find_any(Path(name))
    return place is not None and place.is_file()


def chosen(word: str, options: Sequence[str], subject: Subject) -> tuple[str, Analysis]:
    """Return the analysis that a word names, with its name: one that the spec declares, or a kind, with options.

    SpecError with all mistakes of the options; DlxError where there is none of that name.
    """
    declared = subject.experiment.analyses
    if word in declared:
        return word, with_options(type(declared[word]).kind, options, _written(declared[word]))
    if word in ANALYSES:
        return word, with_options(word, options)
    hint = did_you_mean(word, [*ANALYSES, *declared], "the analyses") + " `dlx analyze --list` has them all."
    raise DlxError(f"there is no analysis `{word}`", hint=hint.strip())


def _written(analysis: Analysis) -> Node:
    """Return the options of an analysis that are not left to their defaults."""
    return located(analysis.model_dump(mode="json", exclude_unset=True), Mark("analyses"))


def with_options(kind: str, options: Sequence[str] = (), start: Node | None = None) -> Analysis:
    """Return an analysis of a kind with options in the grammar of overrides, `lags=[1, 2]`, on top of `start`."""
    at = Mark("--set")
    root = Node({kind: start or Node({}, at)}, at)
    for text in options:
        mark = Mark(f"--set {text}")
        if "=" not in text:
            raise SpecError(Problem("sets nothing: it has no `=`", "Write `--set option=value`.", mark))
        parsed = overrides.parse(text, mark)
        if parsed.is_sweep_override():
            raise SpecError(Problem("names several values, and an option has one", "A list is written [1,2].", mark))
        key, value = parsed.key_or_group.replace("/", "."), hydra_grammar.plain(parsed.value())
        if not isinstance(value, list) and value is not None and _is_list(kind, key):
            value = [value]
        overrides.put(root, f"{kind}.{key}", located(value, mark), mark, True)
    problems: list[Problem] = []
    made = choose(ANALYSES, root, "analysis", problems)
    if problems or made is None:
        raise SpecError(*problems)
    return made


def _is_list(kind: str, option: str) -> bool:
    """Whether an option is a list and nothing else, of which one value is the only item."""
    field = ANALYSES[kind].model_fields.get(option)
    return field is not None and get_origin(field.annotation) is list


def analyze(analysis: Analysis, subject: Subject, name: str = "") -> Analyzed:
    """Run an analysis. SpecError with all reasons for which it does not fit the network, the data or the runs."""
    if analysis.weights == "initial" and subject.trained:
        subject = of_spec(subject.experiment, subject.graphs)
    if found := fitting.problems_of(analysis, subject):
        raise SpecError(*found)
    process.tune()
    with device.threads(_threads(subject)), torch.random.fork_rng(devices=[]), _within_memory(analysis):
        result = analysis.run(subject)
    if not isinstance(result, Result):
        kind = type(analysis).kind
        raise DlxError(f"`run` of the analysis `{kind}` returns {with_article(type(result).__name__)}, and no Result")
    if option := fitting.idle_draws(analysis, subject):
        subject.note(f"`{option}` counts draws of the weights of a spec; here are the weights of runs")
    notes = tuple(dict.fromkeys((*subject.notes, *result.notes)))
    return Analyzed(name or type(analysis).kind, analysis, subject, replace(result, notes=notes))


@contextmanager
def _within_memory(analysis: Analysis) -> Iterator[None]:
    """Tell in a sentence that memory does not hold what the options ask for. DlxError then."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch's own error of the CPU is a plain RuntimeError
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        options = analysis.model_dump(exclude={"weights"})
        sizes = sorted((pair for pair in options.items() if type(pair[1]) is int), key=lambda pair: -pair[1])[:3]
        named = ", ".join(f"`{name}` is {size:,}" for name, size in sizes)
        hint = f"Make it smaller: {named}." if named else "Take a smaller network, or fewer examples."
        raise DlxError(f"`{analysis.kind}` wants more memory than there is", hint=hint) from error


def _threads(subject: Subject) -> int:
    """Return the threads of the spec, or one where a large batch is too little work for several."""
    train = subject.experiment.train
    if train is not None and train.threads != "auto":
        return train.threads
    work = max(map(device.parallel_macs, subject.graphs.values())) * LARGE_BATCH
    return 1 if work < device.ONE_THREAD_BELOW else device.available_threads()
