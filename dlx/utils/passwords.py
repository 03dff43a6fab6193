"""Passwords in addresses: used from memory, and `***` wherever an address is shown or kept."""

from __future__ import annotations

import json
import os
import re

HIDDEN = "***"
OF_PARENT = "DLX_ADDRESSES"
"""The environment variable in which a process gives those that it starts the addresses that it knows."""
_PASSWORD = re.compile(r"(://[^:/?#@\s]*:)(?!\d{1,5}(?:[/?#\s'\"`,)\]]|$)).*@", re.DOTALL)
_TOKEN = re.compile(r"(https?://)[^:/?#@\s]+@")
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|token|secret|api[_-]?key|signature)|sig|key)=)[^&;#\s'\"`]+",
    re.IGNORECASE,
)
_KNOWN: dict[str, str] = {}


def masked(text: str) -> str:
    """A text with `***` for passwords and tokens of the addresses in it."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1{HIDDEN}", _TOKEN.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(rf"\1{HIDDEN}@", text)))


def mask_and_remember(address: str) -> str:
    """Return an address with `***` for its password; `unmask` gives back the whole one in this process."""
    shown = masked(address)
    if shown != address:
        _KNOWN[shown] = address
    return shown


def unmask(address: str) -> str:
    """The whole address; as it is where nothing more is known of it."""
    return _KNOWN.get(address) or _of_parent().get(address) or address


def is_known(address: str) -> bool:
    """Whether this process knows more of an address than is shown."""
    return unmask(address) != address


def for_children() -> dict[str, str]:
    """Environment variables for a child process: the whole addresses that this one knows; empty without any."""
    known = _of_parent() | _KNOWN
    return {OF_PARENT: json.dumps(known)} if known else {}


def _of_parent() -> dict[str, str]:
    try:
        return dict(json.loads(os.environ.get(OF_PARENT, "{}")))
    except (ValueError, TypeError):
        return {}
