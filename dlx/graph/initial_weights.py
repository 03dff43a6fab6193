"""What `weights` takes from its source: which tensor goes where, and every mistake at once. No torch here.

Tensors are called as torch calls them, `trunk.conv_1.weight`, patterns of a spec match `trunk/conv_1/weight`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from ..errors import DlxError, Mark, Problem, SpecError, did_you_mean, listed, plural
from ..shapes import Shape
from ..spec import Experiment
from ..spec.sections.initial_weights import InitialWeights, matches_any
from ..utils import safetensors_header
from ..utils.safetensors_header import TensorInfo
from .graphs import Graphs

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
"""Endings of files that torch has written."""
COUNTER = "num_batches_tracked"
"""A buffer of batch norms that counts batches; it stays 0 where a source lacks it, as older ones do."""
MOST = 20
"""Mistakes of one kind that are told."""
PATH = "weights"


@dataclass(frozen=True)
class OwnTensor:
    """A weight or buffer of the networks, or a parameter of the objective.

    Attributes:
        layer: the name of its node, without the network, or of the parameter.
        inner: its name in the node.
        shape: its shape.
        learned: whether it is no buffer.
        has_values: whether the spec has `values` for it.
        mark: where the node is written.
    """

    layer: str
    inner: str
    shape: tuple[int, ...]
    learned: bool = True
    has_values: bool = False
    mark: Mark | None = None

    @property
    def of_objective(self) -> bool:
        """Whether it is a parameter of the objective."""
        return not self.inner


@dataclass
class Assignment:
    """Tensors of a source by the names of those that they set; names as in torch."""

    sources: dict[str, str] = field(default_factory=dict)
    initialized: list[str] = field(default_factory=list)
    """Names of weights that stay as `init` draws them."""
    values: int = 0
    """Values that are taken, buffers included."""
    problems: list[Problem] = field(default_factory=list)

    def sentence(self, source: str) -> str:
        """Return what is taken, for a note."""
        taken = f"{plural(len(self.sources), 'tensor')} ({self.values:,} values) of {source}"
        return f"weights: {taken}" + (
            f"; as `init` draws them: {_some(self.initialized)}" if self.initialized else ""
        )

    def as_json(self, source: str) -> dict[str, Any]:
        return {"from": source, "tensors": len(self.sources), "values": self.values, "initialized": self.initialized}


def file_of(weights: InitialWeights) -> Path:
    """Return the file of a source: a checkpoint where it is a run. DlxError where there is none."""
    path = weights.path
    if path.is_dir():
        path = path / "checkpoints" / f"{weights.checkpoint}.safetensors"
        if not path.is_file():
            there = sorted(one.stem for one in path.parent.glob("*.safetensors"))
            hint = f"It has {', '.join(there)}: `checkpoint: {there[0]}`." if there else "Is it the folder of a run?"
            raise DlxError(f"{weights.path} has no checkpoint `{weights.checkpoint}`", hint=hint)
    elif not path.is_file():
        hint = "Give a run, or a file of a state dict: .safetensors, .pt, .pth, .bin."
        raise DlxError(f"there is no file or run `{weights.source}`", hint=hint)
    return path


def header(weights: InitialWeights) -> dict[str, TensorInfo] | None:
    """Return the tensors of a source; None where only torch can tell. DlxError where it cannot be read."""
    path = file_of(weights)
    if path.suffix in TORCH_SUFFIXES:
        return None
    try:
        found = safetensors_header.read(path)
    except OSError as error:
        raise DlxError(f"{path} cannot be read: {error.strerror}") from error
    return {name: one for name, one in found.items() if not name.startswith("state/")}


def inspected(experiment: Experiment, graphs: Graphs) -> Assignment | None:
    """Return what `weights` takes; None where the spec has none, or its source is a file of torch.

    SpecError with all that does not fit.
    """
    if experiment.weights is None:
        return None
    try:
        there = header(experiment.weights)
    except DlxError as error:
        raise SpecError(*_placed(experiment, error)) from error
    if there is None:
        return None
    found = assigned(experiment, graphs, there)
    if found.problems:
        raise SpecError(*found.problems)
    return found


def _placed(experiment: Experiment, error: DlxError) -> Iterator[Problem]:
    for problem in error.problems:
        yield Problem(problem.message, problem.hint, experiment.place(PATH, "from"), f"{PATH}.from")


def placed(experiment: Experiment, error: DlxError) -> SpecError:
    """Return an error of the source at its place in the spec."""
    return SpecError(*_placed(experiment, error))


def assigned(experiment: Experiment, graphs: Graphs, there: Mapping[str, TensorInfo]) -> Assignment:
    """Return which tensor of a source goes where, with every mistake; the spec has `weights`."""
    assert experiment.weights is not None
    return _Matching(experiment, experiment.weights, graphs, there).run()


def carried(before: Graphs, after: Graphs, stages: tuple[str, str]) -> Assignment:
    """Return what goes on from one stage to the next, by the names of nodes; other shapes are mistakes."""
    old, found = dict(_own(before)), Assignment()
    for name, one in _own(after):
        # what has the same name in another objective may be another thing
        anew = one.of_objective and (before.objective != after.objective or old.get(name, one).shape != one.shape)
        if name not in old or anew:
            if one.learned and not _follows(after, name):
                found.initialized.append(name)
        elif old[name].shape != one.shape:
            shapes = f"{Shape(old[name].shape)} in the stage `{stages[0]}` and {Shape(one.shape)} in `{stages[1]}`"
            message = f"`{_path(name)}` has shape {shapes}"
            hint = f"Give the node another name there, and it is drawn by `init`: `{{name: {one.layer}_2, ...}}`."
            found.problems.append(Problem(message, hint, one.mark, "stages"))
        else:
            found.sources[name] = name
            found.values += prod(one.shape)
    found.problems[:] = list(_shortened(found.problems))
    return found


class _Matching:
    """The search for what each tensor is set by."""

    def __init__(
        self, experiment: Experiment, weights: InitialWeights, graphs: Graphs, there: Mapping[str, TensorInfo]
    ) -> None:
        self.experiment, self.weights, self.there = experiment, weights, there
        self.own, self.graphs = dict(_own(graphs)), graphs
        self.found = Assignment()

    def run(self) -> Assignment:
        self.check_patterns()
        by_name = self.named_as_here()
        for name, one in self.own.items():
            if not self.weights.takes(_path(name)):
                self.found.initialized.append(name)
            elif name in by_name:
                self.take(name, one, by_name[name])
            elif one.of_objective:  # a source of another task: it begins as the objective has it
                self.found.initialized.append(name)
            elif one.inner.rpartition(".")[2] != COUNTER and not _follows(self.graphs, name):
                self.missing(name, one)
        for name, stored in by_name.items():
            if name not in self.own and not self.weights.spares(_path(stored)) and name not in self.found.sources:
                self.unexpected(name, stored)
        anew = (name for name in self.found.initialized if name in self.learned)
        self.found.initialized = [name for name in anew if not _follows(self.graphs, name)]
        self.found.problems[:] = list(_shortened(self.found.problems))
        return self.found

    @cached_property
    def learned(self) -> set[str]:
        return {name for name, one in self.own.items() if one.learned}

    def named_as_here(self) -> dict[str, str]:
        """Return the names of stored tensors by those that `map` gives them."""
        rules = sorted(
            ((_dotted(a), _dotted(b)) for a, b in self.weights.map.items()), key=lambda rule: -len(rule[0])
        )
        used, found = set[str](), dict[str, str]()
        for stored in self.there:
            rule = next((rule for rule in rules if stored == rule[0] or stored.startswith(f"{rule[0]}.")), None)
            name = stored
            if rule is not None:
                used.add(rule[0])
                name = f"{rule[1]}{stored[len(rule[0]) :]}".lstrip(".")
            if name in found:
                message = f"`{found[name]}` and `{stored}` of the source both go to `{_path(name)}`"
                self.add(message, "Leave one out: `skip: [NAME]`.", "map")
            found[name] = stored
        for written in self.weights.map:
            if _dotted(written) not in used:
                message = f"`weights.map` names `{written}`, and the source has no such tensor or module"
                self.add(message, did_you_mean(_dotted(written), self.modules_there), "map", written)
        return found

    @cached_property
    def modules_there(self) -> list[str]:
        """Names of tensors and of the modules that hold them."""
        parts = [name.split(".") for name in self.there]
        return list(dict.fromkeys(".".join(one[:n]) for one in parts for n in range(1, len(one) + 1)))

    def check_patterns(self) -> None:
        """Add the patterns that match nothing."""
        own = [_path(name) for name in self.own]
        there = [_path(name) for name in self.there]
        for field_name, patterns, names in (
            ("only", self.weights.only or [], own),
            ("skip", self.weights.skip, [*own, *there]),
        ):
            for pattern in patterns:
                if not any(matches_any(name, [pattern]) for name in names):
                    nodes = [_path(name).rpartition("/")[0] for name in self.own]
                    hint = did_you_mean(pattern, nodes, "the nodes with weights")
                    self.add(f"`weights.{field_name}` matches no weight: `{pattern}`", hint, field_name)

    def take(self, name: str, one: OwnTensor, stored: str) -> None:
        info = self.there[stored]
        if info.shape != one.shape:
            message = (
                f"`{_path(name)}` has shape {Shape(one.shape)}, and `{stored}` of the source {Shape(info.shape)}"
            )
            self.add(message, f"`skip: [{one.layer}]` leaves it as `init` draws it.", mark=one.mark)
        elif name in self.learned and not info.is_float:
            message = f"`{stored}` of the source is of type {info.dtype}, which does not fit `{_path(name)}`"
            self.add(message, f"`skip: [{one.layer}]` leaves it out.", mark=one.mark)
        elif one.has_values:
            line = f" (line {one.mark.line})" if one.mark is not None and one.mark.line else ""
            message = f"`{_path(name)}` is set by `values`{line} and by `weights`"
            self.add(message, f"Keep one of the two: `skip: [{_path(name)}]` under `weights` keeps `values`.")
        else:
            self.found.sources[name] = stored
            self.found.values += prod(one.shape)

    def missing(self, name: str, one: OwnTensor) -> None:
        # the same shape first: what is called otherwise is more often it than what is called alike
        alike = [stored for stored, info in self.there.items() if info.shape == one.shape]
        near = difflib.get_close_matches(name, alike, n=1, cutoff=0.0) or difflib.get_close_matches(
            name, self.there, n=1
        )
        nearest = f" Nearest is `{near[0]}`, {Shape(self.there[near[0]].shape)}." if near else ""
        message = f"the source has nothing for `{_path(name)}` of shape {Shape(one.shape)}.{nearest}".rstrip(".")
        here = one.layer
        whole = near[0].rpartition(".")[0] if near else ""
        mapped = f"`map: {{{whole or near[0]}: {here}}}` takes that, " if near and whole else ""
        self.add(message, f"{mapped}`skip: [{here}]` leaves it as `init` draws it.", mark=one.mark)

    def unexpected(self, name: str, stored: str) -> None:
        near = difflib.get_close_matches(name, self.own, n=1)
        nearest = f", nearest is `{_path(near[0])}` of shape {Shape(self.own[near[0]].shape)}" if near else ""
        at = stored if name == stored else f"{stored}` as `{_path(name)}"
        message = (
            f"the source has `{at}` of shape {Shape(self.there[stored].shape)}, which nothing here takes{nearest}"
        )
        self.add(message, f"`skip: [{_path(stored).rpartition('/')[0] or stored}]` leaves it out.")

    def add(self, message: str, hint: str, *keys: str, mark: Mark | None = None) -> None:
        place = mark or self.experiment.place(PATH, *(keys or ("from",)))
        self.found.problems.append(Problem(message, hint, place, ".".join((PATH, *keys))))


def _own(graphs: Graphs) -> Iterator[tuple[str, OwnTensor]]:
    for network, graph in graphs.items():
        if network in graphs.sources:
            continue  # its weights are not drawn, set or saved here
        scope = "" if graphs.is_one else f"{network}."
        for node in graph.nodes:
            if node.owner:
                continue
            for tensors, learned in ((node.plan.weights, True), (node.plan.buffers, False)):
                for inner, shape in tensors.items():
                    own = OwnTensor(node.name, inner, tuple(shape), learned, inner in node.values, node.mark)
                    yield f"{scope}{_dotted(node.name)}.{inner}", own
    for name, shape in graphs.shapes_of_objective.items():
        yield _dotted(name), OwnTensor(name, "", shape)


def _follows(graphs: Graphs, name: str) -> bool:
    """Whether a tensor is of a network that follows another, and begins as that where it is not given."""
    return name.partition(".")[0] in graphs.followers


def _path(name: str) -> str:
    return name.replace(".", "/")


def _dotted(name: str) -> str:
    return name.replace("/", ".").strip(".")


def _some(names: list[str]) -> str:
    nodes = list(dict.fromkeys(_path(name).rpartition("/")[0] for name in names))
    return listed(nodes, most=5, quote="")


def _shortened(problems: list[Problem]) -> Iterator[Problem]:
    """Yield the problems, of many only the first and their number: of another network, nothing fits."""
    yield from problems[:MOST]
    if len(problems) > MOST:
        more = f"{plural(len(problems) - MOST, 'further tensor')} of the source or of the network fit nothing"
        yield Problem(more, "Is it the source that is meant?", problems[0].mark, PATH)
