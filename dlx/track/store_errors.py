"""Errors of MLflow and its stores in one line, with the way out where there is one."""

from __future__ import annotations

import re

from ..errors import DlxError
from . import content

REFUSED = {
    401: "does not know this user or password: put MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD into the "
    "environment, and `dlx runs sync` delivers",
    403: "does not let this user write there: who runs it grants the right, and then `dlx runs sync` delivers",
}
"""What a server says by its HTTP status, in words."""

ANOTHER_VERSION = (
    "the database {uri} was written by another version of MLflow than the one installed here: install that one, or, "
    "where this one is newer, copy the database and run `mlflow db upgrade` with its address"
)
KNOWN = {
    "out-of-date database schema": ANOTHER_VERSION,
    "locate revision identified by": ANOTHER_VERSION,  # alembic's words
    # pathlib's words, where MLflow looks for its own folder
    "home directory": "MLflow needs a home folder, which this user lacks: set HOME to one, and `dlx runs sync` "
    "delivers",
}
"""What MLflow's errors say, and the sentence in their place; `uri` is that of the store, without its password."""


def error_text(error: Exception, uri: str) -> str:
    """Describe an error of a delivery in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, DlxError):
        return text
    if answer := re.search(r"too many (5\d\d) error responses", text):
        why = f"answers with error {answer[1]}: its own log says why, as that its disk is full"
        return f"MLflow at {uri} {why}; `dlx runs sync` delivers the rest once it can"
    unreachable = (
        "Max retries exceeded",
        "timed out",
        "Connection refused",
        "Connection aborted",
        "RemoteDisconnected",
    )
    if any(word in text for word in unreachable):
        return f"MLflow at {uri} cannot be reached; `dlx runs sync` delivers the rest once it can"
    for code, why in REFUSED.items():
        if f"error code {code} " in text:
            return f"MLflow at {uri} {why}"
    if sentence := known_sentence(text, uri):
        return sentence
    return f"MLflow at {uri} did not take it: {content.cut(text or type(error).__name__, 500)}"


def known_sentence(text: str, uri: str) -> str:
    """Return the sentence in place of what MLflow says, with the way out; empty where there is none."""
    return next((sentence.format(uri=uri) for words, sentence in KNOWN.items() if words in text), "")
