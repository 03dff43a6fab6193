"""The sections of a spec, and the families that they choose kinds from."""

from __future__ import annotations

from typing import Any

from ...registry import FAMILIES, Registry, Strict
from ..section_names import SECTIONS
from ..syntax.read import Node
from ..validation import choice_of, is_listed, is_mapped

OF_TRAIN = ("optimizer", "schedule", "average")
"""Fields of `train` that hold a kind, or kinds by network."""
BY_NETWORK = {("objective",), ("init",), *(("train", field) for field in OF_TRAIN)}
"""Sections that hold a kind, or kinds by network; `objective` by output."""


def choice_at(path: tuple[str, ...]) -> Registry[Any] | None:
    """Return the family that the section at `path` chooses from; None where it chooses none.

    There another kind replaces the whole section. The name of a network in `path` is skipped, and that of a stage.
    """
    path = path[2:] if path[:1] == ("stages",) else path
    if path[:1] == ("analyses",):
        return _below(FAMILIES["analysis"], path[2:]) if len(path) > 1 else None
    for depth in (1, 2):
        if len(path) > depth and path[:depth] in BY_NETWORK and path[depth] not in (_choice(path[:depth]) or ()):
            path = path[:depth] + path[depth + 1 :]
    return _choice(path)


def are_networks(node: Node, path: tuple[str, ...]) -> bool:
    """Whether the section at `path` holds kinds by network rather than one kind."""
    return path in BY_NETWORK and bool(node.map) and not any(key in (_choice(path) or ()) for key in node.map)


def _choice(path: tuple[str, ...]) -> Registry[Any] | None:
    if not path or path[0] not in SECTIONS:
        return None
    for depth in (1, 2):
        at = ".".join(path[:depth])
        for family in FAMILIES.values():
            if family.at == at and not family.many:
                return _below(family, path[depth:])
    return None


def _below(family: Registry[Any], path: tuple[str, ...]) -> Registry[Any] | None:
    """Return the family that a field at `path` below a choice of `family` chooses from; None where there is none."""
    if not path:
        return family
    kind, *fields = path
    cls: type[Strict] | None = family.get(kind)
    inner = choice_of(cls, fields[0]) if cls is not None and fields else None
    if cls is None or inner is None or is_listed(cls, fields[0]):
        return None
    named = is_mapped(cls, fields[0])
    return None if named and len(fields) == 1 else _below(inner, tuple(fields[2 if named else 1 :]))
