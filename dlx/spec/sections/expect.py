"""Claims of a spec about itself, the sections `expect` and `recorded`: figures, their sources, and their errors.

expect:
  params: 2050                                              # the whole network
  receptive_field: {conv_1: 3, conv_2: 7, source: "10.2"}   # by node or scope
  test/error: {about: 0.17, within: 0.05, source: "figure 10.8a"}
  figures:
    a dense layer as large as its input: {of: "${(3 * 224 * 224) ** 2}", is: 22_658_678_784}
  output: {at: [0.5], is: [0.265]}                          # for the weights under `values`
  gradient: {at: [0.5], by: linear_1/weight, is: [[0.3]]}   # likewise `loss` and `weights_after`
recorded:                                                   # the same, of earlier trainings of one's own
  test/error: {about: 0.063, within: 0.002, source: results/ladder.md}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from ...errors import Mark, Problem, did_you_mean
from ..expressions import ExpressionError, names_in, resolve
from ..syntax.read import Node
from ..validation import closest_matches, shown

QUANTITIES: Final = {
    "params": "learned values",
    "trainable": "learned values that training moves",
    "remaining": "learned values that `prune` leaves",
    "buffers": "values kept but not learned",
    "weights": "learned values called weight",
    "biases": "learned values called bias",
    "macs": "multiply-adds of one sample, forward",
    "activation_bytes": "memory of the outputs of one sample",
    "shape": "what comes out",
    "arriving": "what comes in",
    "units": "values of one sample in what comes out",
    "receptive_field": "size, or `global`",
    "receptive_field_stride": "input positions between two neighbours",
    "receptive_field_start": "first input position that the first one sees",
    "depth": "weight layers on the longest way",
    "paths": "ways from the input to the output, or those through a node",
    "count": "layers of a kind: {conv: 13, linear: 3}",
    "linear_regions_bound": "upper bound on the linear pieces of a network of one hidden ReLU layer",
    "output": "exact values: {at: INPUT, is: OUTPUT, within: 1e-6, of: NODE, mode: train}",
    "loss": "what training makes small: {at: INPUT, target: TARGET, is: 2.9}; `at` may be several samples",
    "gradient": "of the loss where there is a `target`, else of the output or of a NODE with one value: "
    "{at: INPUT, target: TARGET, by: NODE/weight, NODE or INPUT, is: GRADIENT, of: NODE}",
    "weights_after": "where training brings a weight: {steps: 3, at: SAMPLES, target: TARGETS, of: NODE/bias, is: W}",
    "figures": "what follows from quantities and settings: {WORDS: {of: ${...}, is: FIGURE}}",
    "arithmetic": "of numbers and `vars` alone, which is no receipt: {WORDS: {of: ${...}, is: FIGURE}}",
}
CLAIMING: Final = ("expect", "recorded")
"""The sections that hold claims: receipts, and figures of one's own measurements."""
IN_WORDS: Final = ("figures", "arithmetic")
"""Quantities that are written as an expression."""
FILE: Final = re.compile(r"[^\s:,;]*\w\.\w+(?=[\s:,;]|$)")
"""The beginning of the source of a recorded figure."""
RENAMED: Final = {
    "linear_regions": ("linear_regions_bound", "the number is the most that there can be, and no count")
}
"""Earlier names of quantities, with the present name and the reason."""
EXACT: Final = {
    "output": ("at", "is"),
    "loss": ("at", "target", "is"),
    "gradient": ("at", "by", "is"),
    "weights_after": ("steps", "at", "target", "of", "is"),
}
"""Quantities for which torch runs the network, and the keys that a claim about one must have."""
MAY_SAY: Final = {"output": ("of", "mode"), "loss": ("mode",), "gradient": ("target", "of", "mode")}
LIKE: Final = {
    "output": "{at: [0.5], is: [0.265]}",
    "loss": "{at: [3.2, 5.1, -1.7], target: 0, is: 2.9}",
    "gradient": "{at: [1, 2], target: [1], by: linear_1/weight, is: [[0.2, 0.4]]}",
    "weights_after": "{steps: 1, at: [[1]], target: [[2]], of: linear_1/weight, is: [[0.4]]}",
}
RECORDED: Final = "{about: 0.063, within: 0.002, source: results/ladder.md}"
TIED: Final = (
    "Name what it speaks of, such as `${params}`, `${conv_1.channels}`, `${train.steps}` or `${data.train}`, "
    "or claim it under `arithmetic`, which is no receipt."
)
RESULTS: Final = ("train/", "valid/", "test/")
OF_ANALYSES: Final = "analysis/"
"""Beginning of a claim about a figure of an analysis, `analysis/NAME/FIGURE`."""
ALONE: Final = (*RESULTS, OF_ANALYSES)
"""Beginnings of claims about one number, which is of no node."""
KEYS: Final = ("is", "about", "within", "at_least", "at_most", "book", "because", "source")
FIGURES: Final = ("is", "about", "at_least", "at_most", "book")
NUMBERS: Final = ("about", "within", "at_least", "at_most")
BOUNDS: Final = ("about", "at_least", "at_most")
MOST_STEPS: Final = 10_000
Mistake = tuple[str, str, str]
"""What is wrong in a claim, the way out, and the key whose place is shown; empty for the claim as a whole."""


@dataclass(frozen=True)
class Claim:
    """A figure that a spec states. `of` is a node or scope, the words of a figure, or empty for the whole network.

    `section` is the one that states it: `expect`, or `recorded` for a measurement of one's own.
    """

    quantity: str
    of: str
    figures: dict[str, Any]
    node: Node
    path: str
    source: str = ""
    section: str = "expect"

    @property
    def mark(self) -> Mark:
        return self.node.mark

    @property
    def title(self) -> str:
        """The claim in a table: `params`, `receptive_field of conv_1`, the words of a figure."""
        if self.quantity in IN_WORDS:
            return self.of
        if self.quantity in EXACT:
            return _exact_title(self.quantity, self.figures)
        return f"{self.quantity} of {self.of}" if self.of else self.quantity

    @property
    def is_receipt(self) -> bool:
        """Whether it is a figure of a source: no arithmetic, and no measurement of one's own."""
        return self.section == "expect" and self.quantity != "arithmetic"

    @property
    def analysis(self) -> tuple[str, str] | None:
        """The name of the analysis and its figure that the claim is about; None where it is about something else."""
        name, _, figure = self.quantity.removeprefix(OF_ANALYSES).partition("/")
        return (name, figure) if self.quantity.startswith(OF_ANALYSES) else None

    @property
    def trained(self) -> bool:
        """Whether the claim is about the result of a training."""
        return self.quantity.startswith(RESULTS)


def _exact_title(name: str, figures: dict[str, Any]) -> str:
    """Describe a claim about exact values: `gradient by hidden/weight at [1, 2]`, `sgd_1/weight after 3 steps`."""
    of, at = figures.get("of"), f"at {shown(figures.get('at'))}"
    if name == "weights_after":
        steps = figures.get("steps")
        return f"{of} after {steps} step{'' if steps == 1 else 's'}"
    target = f" for {shown(figures['target'])}" if "target" in figures else ""
    by = f" by {figures['by']}" if "by" in figures else ""
    return f"{name}{f' of {of}' if of else ''}{by} {at}{target}"


def claims_of(
    root: Node, source: str = "", variables: Mapping[str, Any] | None = None
) -> tuple[list[Claim], list[Problem]]:
    """Parse the claims of a spec and return them with their mistakes; `source` is that of claims that name none.

    Those of `expect` come first, then those of `recorded`.
    """
    declared = root.at("analyses")
    analyses = list(declared.map) if declared is not None else []
    readers = [_ClaimParser(section, source, variables or {}, analyses) for section in CLAIMING]
    found = [claim for reader in readers for claim in reader.read(root.at(reader.section))]
    return found, [*(problem for reader in readers for problem in reader.problems), *_twice(found)]


def _twice(claims: Sequence[Claim]) -> Iterator[Problem]:
    """Yield a problem for each claim that an earlier one equals in all: a copy in which something was to change."""
    seen: dict[str, Claim] = {}
    for one in claims:
        first = seen.setdefault(repr((one.section, one.quantity, one.of, one.figures, one.source)), one)
        if first is not one:
            message = f"the claim `{one.title}` stands at line {first.mark.line} too, word for word"
            yield Problem(message, "Drop one of them, or change what it claims.", one.mark, one.path)


def without_claims(root: Node) -> list[str]:
    """Return the overrides that drop the claims of a spec."""
    return [f"~{section}" for section in CLAIMING if root.at(section) is not None]


def apply_with(overrides: Sequence[str]) -> bool:
    """Whether claims are checked with these overrides: claims are about the spec as written, unless one sets them."""
    return not overrides or any(change.lstrip("+~").startswith("expect") for change in overrides)


class _ClaimParser:
    """Parser of a section of claims, which collects mistakes."""

    def __init__(self, section: str, source: str, variables: Mapping[str, Any], analyses: Sequence[str]) -> None:
        # what a spec says of its source is not where its own measurements are
        self.section, self.source, self.variables = section, source if section == "expect" else "", variables
        self.analyses = analyses
        self.problems: list[Problem] = []

    def fail(self, message: str, hint: str, node: Node, path: str) -> None:
        self.problems.append(Problem(message, hint, node.mark, path))

    def read(self, node: Node | None) -> Iterator[Claim]:
        if node is None or node.value is None:
            return
        if not node.is_map:
            message = f"`{self.section}` must be a mapping of claims, not {shown(node.plain())}"
            like = "params: 2050" if self.section == "expect" else f"test/error: {RECORDED}"
            self.fail(message, f"Write `{self.section}: {{{like}}}`.", node, self.section)
        for name, child in node.map.items():
            path = f"{self.section}.{name}"
            if name in RENAMED:
                now, why = RENAMED[name]
                self.fail(f"`{name}` is called `{now}`: {why}", f"Write `{now}`.", child, path)
            elif name.startswith(OF_ANALYSES) and (wrong := self.of_analysis(name)) is not None:
                self.fail(*wrong, child, path)
            elif name not in QUANTITIES and not name.startswith(ALONE):
                hint = did_you_mean(name, [*QUANTITIES, "test/accuracy", "test/error", "test/loss"])
                self.fail(f"there is no claim `{name}`", hint, child, path)
            elif child.value is None:
                hint = f"Write the figure; `~{path}` leaves out a claim that is there."
                self.fail(f"`{name}` claims nothing", hint, child, path)
            else:
                yield from self.quantity(name, child, path)

    def of_analysis(self, name: str) -> tuple[str, str] | None:
        """Return message and hint where a claim is about no analysis of the spec."""
        analysis, _, figure = name.removeprefix(OF_ANALYSES).partition("/")
        if not figure or "/" in figure:
            return f"`{name}` names no figure of an analysis", "Write `analysis/NAME/FIGURE`."
        if analysis not in self.analyses:
            hint = did_you_mean(analysis, self.analyses) or "Add it: `analyses: {NAME: KIND}`."
            return f"the spec has no analysis `{analysis}`", hint
        return None

    def quantity(self, name: str, node: Node, path: str) -> Iterator[Claim]:
        if name in EXACT:
            for i, one in enumerate(node.list or [node]):
                yield from self.claim(name, "", one, f"{path}.{i}" if node.is_list else path, self.source)
        elif any(item.is_map for item in node.list) and not name.startswith(ALONE):
            for i, one in enumerate(node.list):
                yield from self.quantity(name, one, f"{path}.{i}")
        elif name in {*IN_WORDS, "count"} and not (node.is_map and not node.map.keys() & set(FIGURES)):
            form = "{WORDS: {of: ${...}, is: 5}}" if name in IN_WORDS else "{conv: 13, linear: 3}"
            self.fail(
                f"`{name}` must be a mapping, not {shown(node.plain())}", f"Write `{name}: {form}`.", node, path
            )
        elif _names(node) and not node.map.keys() & set(FIGURES) and not name.startswith(ALONE):
            yield from self.by_name(name, node, path)
        else:
            yield from self.several(name, "", node, path, self.source)

    def by_name(self, name: str, node: Node, path: str) -> Iterator[Claim]:
        """Yield the claims of a mapping of nodes or scopes to figures; its `source` is that of all of them."""
        beside = node.map.get("source")
        source = str(beside.value) if beside is not None and isinstance(beside.value, str) else self.source
        for of, child in node.map.items():
            # A text is the source of all claims here; anything else is a claim about a node called `source`.
            if of == "source" and child is beside and isinstance(child.value, str):
                continue
            if not of:
                self.fail("a claim is about a name, and this one is empty", "Name a node or scope.", child, path)
            else:
                yield from self.several(name, of, child, f"{path}.{of}", source)

    def several(self, name: str, of: str, node: Node, path: str, source: str) -> Iterator[Claim]:
        """Yield one claim, or those of a list about one quantity."""
        many = bool(node.list) and all(item.is_map for item in node.list)
        for i, one in enumerate(node.list if many else [node]):
            yield from self.claim(name, of, one, f"{path}.{i}" if many else path, source)

    def claim(self, name: str, of: str, node: Node, path: str, source: str) -> Iterator[Claim]:
        more = (*EXACT.get(name, ()), *MAY_SAY.get(name, ())) if name not in IN_WORDS else ("of",)
        resolved = self.resolved(node, path)
        if resolved.broken:
            return
        figures = resolved.plain() if node.is_map else {"is": resolved.plain()}
        known = [key for key in dict.fromkeys((*more, *KEYS)) if name not in EXACT or key not in BOUNDS]
        known = [key for key in known if self.section == "expect" or key not in ("book", "because")]
        mistakes = list(_mistakes(name, figures, known))
        if self.section == "recorded":
            mistakes += _record_mistakes(str(figures.get("source", source)))
        if name in IN_WORDS and not mistakes:
            mistakes += _untied(name, of, str(figures["of"]), self.variables)
        for message, hint, key in mistakes:
            at = node.map.get(key)
            self.fail(message, hint, at or node, f"{path}.{key}" if at is not None else path)
        if not mistakes:
            own = figures.pop("source", source)
            yield Claim(name, of, figures, node, path, str(own), self.section)

    def resolved(self, node: Node, path: str) -> Node:
        """Evaluate the expressions of a claim, but not that of `of`, which names quantities of the graph."""

        def failed(error: ExpressionError, at: Node) -> None:
            self.fail(error.message, error.hint, at, path)

        if not node.is_map:
            return resolve(node, self.variables, failed)
        entries = node.map.items()
        return Node({k: v if k == "of" else resolve(v, self.variables, failed) for k, v in entries}, node.mark)


def _record_mistakes(source: str) -> Iterator[Mistake]:
    """Yield the mistake of a recorded figure whose source is no file."""
    if not FILE.match(source):
        where = f"not with `{source}`" if source else "and it has none"
        message = f"the `source` of a recorded figure begins with the file that has it, {where}"
        yield message, f"Write `{RECORDED}`.", "source"


def _untied(name: str, words: str, of: str, variables: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield the mistake of a figure that holds whatever the network and its training are, and the reverse."""
    try:
        tied = sorted(names_in(of) - variables.keys())
    except ExpressionError:
        return  # reported where it is evaluated
    if name == "figures" and not tied:
        yield f"`{words}` holds for any network and any training: it has numbers and `vars` alone", TIED, "of"
    elif name == "arithmetic" and tied:
        yield f"`{words}` is no mere arithmetic: it names {_listed(tied)}", "Claim it under `figures`.", "of"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _names(node: Node) -> bool:
    """Whether a mapping has a node among its keys; `source` is one where its value is no text."""
    return any(key != "source" or not isinstance(child.value, str) for key, child in node.map.items())


def _mistakes(name: str, figures: dict[str, Any], known: Sequence[str]) -> Iterator[Mistake]:
    """Yield the mistakes of a claim by itself, each with its hint and key."""
    unknown = [key for key in figures if key not in known]
    for key in unknown:
        yield f"a claim has no `{key}`", did_you_mean(key, known), key
    yield from _mistyped_values(figures)
    if closest_matches(unknown, known):
        return  # what seems to be missing is misspelt
    if not figures.keys() & set(FIGURES):
        yield "the claim states no figure", "Write what it `is`, or `about` what and `within` how much.", ""
    elif name.startswith(ALONE) and isinstance(figures.get("is"), str | list | dict):
        yield f"`{name}` wants a number and how near is near", "Write `{about: 0.17, within: 0.05}`.", "is"
    elif "about" in figures and "within" not in figures:
        yield "`about` wants `within`: how near is near", "Write `{about: 60e6, within: 3e6}`.", "about"
    least, most = figures.get("at_least"), figures.get("at_most")
    if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
        yield (
            f"nothing is at least {shown(least)} and at most {shown(most)}",
            "Swap the two, if that is meant.",
            "at_most",
        )
    yield from _book_mistakes(figures)
    if name in IN_WORDS and not (isinstance(figures.get("of"), str) and "${" in figures["of"]):
        yield "a figure wants `of`, the arithmetic", 'Write `{of: "${params / macs}", is: 0.5}`.', "of"
    if name in EXACT:
        yield from _exact_mistakes(name, figures)


def _exact_mistakes(name: str, figures: dict[str, Any]) -> Iterator[Mistake]:
    """Yield missing and superfluous keys of a claim about exact values."""
    missing = [key for key in EXACT[name] if key not in figures]
    if missing:
        yield f"`{name}` wants {' and '.join(f'`{key}`' for key in missing)}", f"Write `{name}: {LIKE[name]}`.", ""
    for key in ("of", "by"):
        if not isinstance(figures.get(key, ""), str):
            what = "a node" if name == "output" else "a node or weight"
            yield f"`{key}` must name {what}, not {shown(figures[key])}", "", key
    if figures.get("mode", "eval") not in ("train", "eval"):
        yield f"`mode` must be train or eval, not {shown(figures['mode'])}", "", "mode"
    if name == "gradient" and {"target", "of"} <= figures.keys():
        hint = "Keep `target` for the loss, or `of` for a node."
        yield "a gradient is of the loss for a `target`, or `of` a node, and this names both", hint, "of"
    steps = figures.get("steps", 1)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= MOST_STEPS:
        yield f"`steps` must be a whole number from 0 to {MOST_STEPS:,}, not {shown(steps)}", "", "steps"


def _mistyped_values(figures: dict[str, Any]) -> Iterator[Mistake]:
    """Yield values of a wrong type, and figures that are not finite."""
    for key in NUMBERS:
        value = figures.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"`{key}` must be a number, not {shown(value)}", "", key
        elif not _plain(value) or (key == "within" and value < 0):
            least = " of 0 and more" if key == "within" else ""
            yield f"`{key}` must be a finite number{least}, not {shown(value)}", "", key
    for key in ("is", "book"):
        if key in figures and not _plain(figures[key]):
            yield f"`{key}` must be a finite number, words or a list of those, not {shown(figures[key])}", "", key
    for key in ("source", "because"):
        value = figures.get(key, "")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            yield f"`{key}` must be words, not {shown(value)}", "", key


def _plain(value: Any) -> bool:
    """Whether a figure can be compared: a finite number, a text, or a list or mapping of those."""
    if isinstance(value, list | dict):
        return all(map(_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def _book_mistakes(figures: dict[str, Any]) -> Iterator[Mistake]:
    """Yield mistakes about `book`, the figure of a source that is wrong."""
    if "book" not in figures:
        if "because" in figures:
            message = "`because` says why a book is wrong, and there is no `book`"
            yield message, "Say what the book has, or drop it.", "because"
    elif not {"is", "because"} <= figures.keys():
        message = "a book that is wrong wants the right figure and the reason"
        yield message, "Write `{book: 3, is: 4, because: ...}`.", "book"
    elif figures["book"] == figures["is"]:
        yield f"`book` and `is` are both {shown(figures['is'])}", "Keep `is`: the book is right.", "book"
