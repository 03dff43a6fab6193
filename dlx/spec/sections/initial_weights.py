"""The section `weights`: initial weights from a run or a file.

weights: {from: runs/digits/20260101-120000-0a1b, only: ["trunk/*"]}
weights: {from: resnet18.safetensors, map: {"layer1.0": stage_1/block_1}, skip: [head]}
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from pydantic import Field, create_model

from ...errors import Problem
from ...registry import Strict
from ..shipped import resolve_from
from ..syntax.read import Node
from ..validation import build, shown

MOST_PATTERNS = 1000
Patterns = list[str]

# `from` is a word of Python, and no name of a field in the text of a class.
_Source: Any = create_model(
    "_Source",
    __base__=Strict,
    **cast("dict[str, Any]", {"from": (str, Field(min_length=1, description="a run, or a file of weights"))}),
)


class InitialWeights(_Source):
    """Weights that a training starts from, set after `init`. Names are those of nodes, or of their weights."""

    only: Patterns | None = Field(None, description="what is taken, with *: 'trunk/*', head/bias; else everything")
    skip: Patterns = Field([], description="what is left as `init` draws it; also names that only the source has")
    map: dict[str, str] = Field({}, description="names in the source, or beginnings of them, to names here")
    checkpoint: str = Field("final", description="of a run: final, best-1, ...")
    key: str | None = Field(None, description="of a torch file that holds more than a state dict: state_dict, model")

    @property
    def source(self) -> str:
        return str(getattr(self, "from"))

    @property
    def path(self) -> Path:
        return Path(self.source)

    def takes(self, weight: str) -> bool:
        """Whether a weight, `trunk/conv_1/bias`, is to be taken from the source."""
        return (self.only is None or matches_any(weight, self.only)) and not matches_any(weight, self.skip)

    def spares(self, stored: str) -> bool:
        """Whether a tensor of the source, its name with slashes, may be left out."""
        return self.only is not None or matches_any(stored, self.skip)


def matches_any(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches a weight, `trunk/conv_1/bias`, or a node or scope that contains it."""
    dotless = (pattern.replace(".", "/") for pattern in patterns)
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*") for pattern in dotless)


def parse_weights(node: Node, written: Node, problems: list[Problem]) -> InitialWeights | None:
    """Parse `weights`. The path of an existing source is made absolute, in both nodes: it starts at the file that it
    is written in, that of an override at the working directory. A name of a run stays, for `runs/lookup`.
    """
    if node.value is None:
        return None
    if not node.is_map and not node.broken:
        message = f"`weights` must be a mapping, not {shown(node.plain())}"
        problems.append(Problem(message, "Write `weights: {from: RUN}`.", node.mark, "weights"))
        return None
    if (source := node.at("from")) is not None:
        make_absolute(source)
        written.map["from"].value = source.value
    return build(InitialWeights, node, "weights", problems)


def make_absolute(source: Node) -> None:
    """Make the path of an existing source absolute: from its file, or from the working directory for an override."""
    if isinstance(source.value, str) and source.value and "${" not in source.value:
        path = Path(source.value).expanduser()
        # A mark without a line is that of an override.
        target = (resolve_from(Path(source.mark.file), path) if source.mark.line else path).absolute()
        if target.exists():
            source.value = str(target)
