"""Passwords in addresses: used from memory, and `***` wherever an address is printed or saved."""

from __future__ import annotations

import json
import os
import re

HIDDEN = "***"
OF_PARENT = "DLX_ADDRESSES"
"""Environment variable by which a process passes whole addresses to its child processes."""
# `user:password@`. Digits before a `/` or the end are a port, as in `host:5000/a@b`, and no password.
_PASSWORD = re.compile(r"(://[^:/?#@\s]*:)(?!\d{1,5}(?:[/?#\s'\"`,)\]]|$)).*@", re.DOTALL)
_TOKEN = re.compile(r"(https?://)[^:/?#@\s]+@")
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|token|secret|api[_-]?key|signature)|sig|key)=)[^&;#\s'\"`]+",
    re.IGNORECASE,
)
_KNOWN: dict[str, str] = {}


def masked(text: str) -> str:
    """Replace passwords and tokens of the addresses in a text by `***`."""
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
    """Return the whole address of a masked one; the address itself where its password is not known."""
    return _KNOWN.get(address) or _of_parent().get(address) or address


def is_known(address: str) -> bool:
    """Whether this process knows the password of a masked address."""
    return unmask(address) != address


def for_children() -> dict[str, str]:
    """Return environment variables that pass the known addresses to a child process; empty without any."""
    known = _of_parent() | _KNOWN
    return {OF_PARENT: json.dumps(known)} if known else {}


def _of_parent() -> dict[str, str]:
    try:
        return dict(json.loads(os.environ.get(OF_PARENT, "{}")))
    except (ValueError, TypeError):
        return {}
