"""Where the values come from that a mistake is about: the variables and lists that its expression names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from ..errors import Mark, Problem
from ..spec import Experiment
from ..spec.expressions import ExpressionError, names_in
from ..spec.syntax.read import Node

MOST_BELOW = 20
"""Values inside one whose expressions are looked at."""
MOST_NAMED = 3
"""Values of one mistake whose places are named."""


def with_values(problems: Iterable[Problem], experiment: Experiment) -> list[Problem]:
    """Return the problems, each with the places of the values that the text at its own place names.

    Those are variables and the lists of a `for`; of a mistake in a block also what its innermost use hands in.
    """
    found = list(problems)
    marks = {one.mark for one in found} | {call for one in found for call in one.calls}
    texts = _texts(experiment.root, marks)
    sources = _sources(experiment.root)
    return [replace(one, values=_values(one, texts, sources)) for one in found]


def _texts(root: Node, marks: set[Mark | None]) -> dict[Mark, list[str]]:
    """Return the texts with expressions that stand at these places, or inside what stands there."""
    found: dict[Mark, list[str]] = {}
    for node in root.walk():
        below = list(islice(node.walk(), MOST_BELOW + 1)) if node.mark in marks and node.mark.line else []
        if len(below) <= MOST_BELOW:  # a section or a list of layers is no value
            inside = [one.value for one in below if isinstance(one.value, str) and "${" in one.value]
            found.setdefault(node.mark, []).extend(inside)
    return found


def _sources(root: Node) -> dict[str, list[tuple[Mark, Node]]]:
    """Return the places that give a name its value: variables of the spec, and lists that a `for` walks."""
    found: dict[str, list[tuple[Mark, Node]]] = {}
    variables = root.at("vars")
    lists = [node.map["for"].map for node in root.walk() if "for" in node.map]
    for names in (variables.map if variables is not None else {}, *lists):
        for name, node in names.items():
            found.setdefault(name, []).append((node.mark, node))
    return found


def _values(
    problem: Problem, texts: Mapping[Mark, list[str]], sources: Mapping[str, list[tuple[Mark, Node]]]
) -> tuple[tuple[str, Mark], ...]:
    """Return the names that the text of a problem uses and their places, those of their own expressions too."""
    if problem.message.startswith("there is no"):
        return ()  # what is missing has no value
    at = [problem.mark, *problem.calls[:1]]
    found: dict[tuple[str, Mark], None] = {}
    waiting = [text for mark in at if mark is not None for text in texts.get(mark, ())]
    while waiting and len(found) < MOST_NAMED:
        for name in _names(waiting.pop(0)):
            for mark, node in sources.get(name, ()):
                if (name, mark) not in found and mark.line and mark != problem.mark:
                    found[name, mark] = None
                    waiting += [one.value for one in node.walk() if isinstance(one.value, str) and "${" in one.value]
    return tuple(found)[:MOST_NAMED]


def _names(text: str) -> Iterator[str]:
    try:
        yield from sorted(names_in(text))
    except ExpressionError:
        return
