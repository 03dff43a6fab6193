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


_Dumper.add_representer(str, _string)


def yaml_text(value: dict[str, Any]) -> str:
    """Write one document, keys in their order, small lists on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
