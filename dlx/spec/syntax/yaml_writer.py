"""Writer of YAML 1.2 that is read back to equal values."""

from __future__ import annotations

from typing import Any

import yaml

from .read import plain_scalar

_NO_BREAKS = set("\u0085\u2028\u2029")
"""Line breaks to PyYAML and none to YAML 1.2: inside double quotes it escapes them."""


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes strings which YAML 1.2 would read as something else, and expressions."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared values out each time: a resolved spec has no anchors."""
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    looks_else = not isinstance(plain_scalar(text), str) or "${" in text or bool(_NO_BREAKS & set(text))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if looks_else else None)


class _Entry(dict[str, Any]):
    """One entry of a document in block style."""


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Entry, lambda dumper, one: dumper.represent_mapping("tag:yaml.org,2002:map", one, False))

_KNOWN: dict[str, str] = {}
"""Texts of entries that were written: a trial of a search differs from the one before in few of its sections."""
MAX_KNOWN = 64


def yaml_text(value: dict[str, Any]) -> str:
    """Write one document, keys in their order, small lists on one line."""
    if not any(isinstance(child, dict | list) for child in value.values()):
        return _dumped(value)  # as small as a list of that kind
    return "".join(_entry_text(key, child) for key, child in value.items())


def _entry_text(key: str, child: Any) -> str:
    """Return the text of an entry, which does not depend on those beside it."""
    name = repr((key, child))
    if name not in _KNOWN:
        if len(_KNOWN) >= MAX_KNOWN:
            _KNOWN.clear()
        _KNOWN[name] = _dumped(_Entry({key: child}))
    return _KNOWN[name]


def _dumped(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
