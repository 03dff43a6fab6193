"""Variables and blocks that a spec declares and that nothing uses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from ..errors import Mark, Problem
from ..spec import Experiment
from ..spec.syntax.nodes import OVERRIDE
from ..spec.syntax.read import Node

WORD = re.compile(r"[A-Za-z_]\w*")
NEAR = 0.75
"""Share of letters, as difflib counts them, from which on one name is taken for another one misspelt."""


def mistakes(experiment: Experiment) -> Iterator[Problem]:
    """Yield a problem for each variable that nothing uses, and that is near one of another file: it changes nothing.

    `vars: {widht: 64}` over a file that has `width`, or `+vars.widht=64`.
    """
    for name, node, used in _unused_variables(experiment):
        variables = experiment.written.map["vars"].map
        others = [other for other in used if other in variables and variables[other].mark.file != node.mark.file]
        if near := difflib.get_close_matches(name, others, n=1, cutoff=NEAR):
            hint = f"Did you mean `{near[0]}` ({variables[near[0]].mark})?"
            yield Problem(f"nothing uses the variable `{name}`", hint, node.mark, f"vars.{name}")


def warnings(experiment: Experiment) -> Iterator[Problem]:
    """Yield a warning for each variable and block of the spec itself that nothing uses.

    Those of the files that its `defaults` name are for several specs, which use some of them.
    """
    for name, node, _ in _unused_variables(experiment):
        if _is_own(node.mark, experiment):
            yield Problem(f"nothing uses the variable `{name}`", "Leave it out.", node.mark, f"vars.{name}")
    blocks = experiment.written.at("blocks")
    declared = blocks.map if blocks is not None else {}
    own = {name: node for name, node in declared.items() if _is_own(node.mark, experiment)}
    for name in own.keys() - _words(experiment.written, own.keys()):
        mark = own[name].mark
        yield Problem(f"nothing uses the block `{name}`", f"Run it: `- {name}`.", mark, f"blocks.{name}")


def _unused_variables(experiment: Experiment) -> Iterator[tuple[str, Node, Collection[str]]]:
    """Yield each variable that no expression names, its node, and the names that expressions have."""
    variables = experiment.written.at("vars")
    if variables is None or not variables.map or experiment.within is not None:
        return  # of a network that is taken out of a spec, the rest of it is not there
    used = words_of_expressions(experiment.written)
    for name, node in variables.map.items():
        if name not in used:
            yield name, node, used


def words_of_expressions(root: Node) -> set[str]:
    """Return the words that stand in expressions."""
    return {word for text in _texts(root) if "${" in text for word in WORD.findall(text)}


def _words(root: Node, wanted: Collection[str]) -> set[str]:
    """Return the words that are a key, a value or in an expression somewhere, until they hold all that are wanted."""
    found: set[str] = set()
    blocks = root.at("blocks")
    for node in root.map.values():
        for inner in node.map.values() if node is blocks else (node,):
            found |= {word for text in _texts(inner) for word in (WORD.findall(text) if "${" in text else [text])}
        if len(found & set(wanted)) == len(wanted):
            break
    return found


def _texts(root: Node) -> Iterator[str]:
    """Yield the keys and the texts of all nodes."""
    for node in root.walk():
        yield from node.map
        if isinstance(node.value, str):
            yield node.value


def _is_own(mark: Mark, experiment: Experiment) -> bool:
    return mark.file == str(experiment.path) or mark.file.startswith(OVERRIDE)
