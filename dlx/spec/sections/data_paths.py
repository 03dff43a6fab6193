"""Paths of a spec made absolute, so that its resolved text has the same data from any folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ...registry import FAMILIES
from .. import shipped
from ..syntax.read import Node


def make_absolute(data: Node, written: Node) -> None:
    """Make paths of the data absolute, in both nodes: relative ones start at the file that they are written in.

    Those of an override start at the working directory. The written node is changed too, so that a resolved spec
    has the same data from any folder.
    """
    for kind, options in data.map.items():
        cls = FAMILIES["data"].get(kind)
        for name, info in cls.model_fields.items() if cls else ():
            bare = not options.is_map and cls is not None and name == cls.first_field()
            node = options if bare else options.at(name)
            if (
                node is None
                or not isinstance(node.value, str)
                or "Path" not in str(info.annotation)
                or "${" in node.value
            ):
                continue
            path = Path(node.value).expanduser()
            # A mark without a line is that of an override.
            target = shipped.resolve_from(Path(node.mark.file), path) if node.mark.line else path
            node.value = str(target.absolute())
            original = written.at(kind) if bare else written.at(kind, name)
            if original is not None:
                original.value = node.value


def make_all_absolute(node: Node, stages: Collection[str] = ()) -> None:
    """Make the paths of a whole spec, or of a stage, absolute as they are written; names of `stages` are none."""
    if (data := node.at("data")) is not None:
        make_absolute(data, data)
    from . import initial_weights

    networks = node.at("networks")
    each = networks.map.values() if networks is not None else ()
    for source in (node.at("weights", "from"), *(network.at("from") for network in each)):
        if source is not None and source.value not in stages:
            initial_weights.make_absolute(source)
