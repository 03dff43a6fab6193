"""The words of a spec with what each is: a kind, a field, a name, a variable, a claim, a section."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from keyword import iskeyword

from dlx.graph.expansion.entries import STRUCTURES
from dlx.registry import FAMILIES
from dlx.spec.sections.expect import CLAIMING, IN_WORDS
from dlx.spec.syntax.read import Node

SURE = ("kind", "field", "name", "variable", "claim", "section")
"""Words that are surely wrong where they are misspelt, unless they declare a name."""
CLAIMED = frozenset(CLAIMING)
DECLARING = {"vars", "blocks", "networks", "args", "inputs", "outputs", "analyses", "for", "space", "map"}
"""Keys whose mapping has names that users choose."""
OF_DATA = {"data", "preprocess"}
NAMING = {"from", "share", "tie", "freeze", "copy", "of", "by", "match", "outputs", "only", "skip", "layer", "node"}
"""Keys whose values name a node, an output or a network."""
PROSE = {"source", "because", "name", "description"}
TEXTS = {"path", "file", "uri", "dlx", "sha256", "module", "text", "prompts", "prompt", "target", "tags"}
"""Keys whose values are of the world outside."""
EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
NUMBER = re.compile(r"-?\d[\d_]*(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE)
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Token:
    """A word or number of a text, from `start` to `end`; `is_use` where it means what something else declares."""

    word: str
    start: int
    line: int
    sort: str
    is_key: bool = False
    is_use: bool = True

    @property
    def end(self) -> int:
        return self.start + len(self.word)


@cache
def kinds() -> frozenset[str]:
    return frozenset(STRUCTURES) | {kind for registry in FAMILIES.values() for kind in registry}


def tokens(root: Node, text: str) -> Iterator[Token]:
    """Yield the words of a text that mean something, each once."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    blocks = {*(root.at("blocks") or Node({}, root.mark)).map}
    seen: set[int] = set()
    for token in _below(root, (), text, starts, blocks):
        if token.start not in seen:
            seen.add(token.start)
            yield token


def _below(node: Node, path: Path, text: str, starts: list[int], blocks: set[str]) -> Iterator[Token]:
    for key, child in node.map.items():
        at = starts[child.mark.line - 1] + child.mark.column - 1
        at += text[at : at + 1] in {'"', "'"}
        if not text.startswith(key, at):
            continue  # behind an alias, or a dotted key of TOML
        sort, is_use = _of_key(path, key, child, blocks)
        if sort:
            yield Token(key, at, child.mark.line, sort, is_key=True, is_use=is_use)
        if not child.is_map and not child.is_list:
            yield from _of_value(child, (*path, key), at + len(key), text, blocks)
    for index, child in enumerate(node.list):
        if not child.is_map and not child.is_list:
            at = starts[child.mark.line - 1] + child.mark.column - 1
            yield from _of_value(child, (*path, index), at, text, blocks)
    for key, child in node.map.items() if node.is_map else enumerate(node.list):
        yield from _below(child, (*path, key), text, starts, blocks)


def _of_key(path: Path, key: str, child: Node, blocks: set[str]) -> tuple[str, bool]:
    """Return the sort of a key, empty where it is prose, and whether it means what is declared elsewhere."""
    above = path[-1] if path else ""
    if not path:
        return "section", True
    if path[0] in CLAIMED:
        return ("", False) if above in IN_WORDS else ("claim", True)
    if above in DECLARING:
        declared = "variable" if above in {"vars", "args", "for"} else "name"
        return declared, above == "space"
    if path[0] in OF_DATA and any(one in {"targets", "columns", "inputs", "arrays"} for one in path):
        return "", False
    return ("kind" if key in kinds() | blocks else "field"), True


def _of_value(node: Node, path: Path, at: int, text: str, blocks: set[str]) -> Iterator[Token]:
    named = [one for one in path if isinstance(one, str)]
    above = named[-1] if named else ""
    rest = text[at:].partition("\n")[0]
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        found = NUMBER.search(rest)
        if found and not rest[: found.start()].strip(":= \"'-"):
            yield Token(found[0], at + found.start(), node.mark.line, "number")
    elif isinstance(node.value, str) and node.value in rest:
        start = at + rest.index(node.value)
        if "${" in node.value:
            yield from _of_expression(node.value, start, node.mark.line)
        elif (sort := _of_word(node.value, above, named, blocks)) is not None:
            yield Token(node.value, start, node.mark.line, sort, is_use=sort != "word")


def _of_word(word: str, above: str, named: list[str], blocks: set[str]) -> str | None:
    """Return the sort of a word that is a value; None where it is prose, or of the world outside."""
    outside = above in PROSE | TEXTS or "plugins" in named or "defaults" in named
    if outside or not re.fullmatch(r"[\w/.]+", word):
        return None
    if above in NAMING and not (above == "of" and word in kinds()):
        return "name"
    if named[0] in OF_DATA:
        return None
    return "kind" if word in kinds() | blocks else None if named[0] in CLAIMED else "word"


def _of_expression(text: str, start: int, line: int) -> Iterator[Token]:
    for piece in EXPRESSION.finditer(text):
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", lambda found: " " * len(found[0]), piece[1])
        for found in re.finditer(r"[A-Za-z_]\w*", bare):
            if not iskeyword(found[0]) and found[0] not in {"true", "false", "null"}:
                yield Token(found[0], start + piece.start(1) + found.start(), line, "variable")


def misspelt(word: str, known: set[str], rng: random.Random) -> str | None:
    """Return a word with two letters swapped, or one left out, doubled or wrong; None where none is a new word."""
    if len(word) < 3:
        return None
    for _ in range(20):
        i, kind = rng.randrange(len(word) - 1), rng.randrange(4)
        if not (word[i].isalpha() and word[i + 1].isalpha()):
            continue
        made = {
            0: word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            1: word[:i] + word[i + 1 :],
            2: word[: i + 1] + word[i:],
            3: word[:i] + rng.choice("abdeginorstu") + word[i + 1 :],
        }[kind]
        if made not in known | kinds() and made != word and made not in {"true", "null", "on", "no"}:
            return made
    return None
