"""What `dlx ui` prints."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from ..errors import plural
from .console import document, out, say
from .mlflow_commands import program

if TYPE_CHECKING:
    from ..track.arrivals import Arrivals

MOST = 3
"""Runs that are named, where several have not arrived."""


def up(found: Arrivals, store: str, url: str, as_json: bool, everybody: bool) -> None:
    """Print where a server answers that has begun, what is missing there, and how the newest model is served."""
    model = found.models.get(store)
    serve = serve_line(url, model[1]) if model is not None else ""
    if as_json:
        document({"url": url, "page": found.page(store, url), **_facts(found, store), "serve": serve or None})
        return
    out(f"MLflow shows the runs of {found.root} at {found.page(store, url)}")
    out("Ctrl-C ends it")
    if everybody:
        say("Everybody in the network can see and change them there: it asks for no password.")
    _missing(found, store)
    if model is not None:
        out(f"the model of {model[0].key} is served by\n  {serve}")


def elsewhere(found: Arrivals, store: str, as_json: bool) -> None:
    """Print the address of a server that has the runs already."""
    if as_json:
        document({"url": store, "page": found.page(store, store), **_facts(found, store), "serve": None})
        return
    out(f"the runs of {found.root} are on a server: open {found.page(store, store)}")
    _missing(found, store)


def serve_line(uri: str, model_id: str) -> str:
    """Return the command that serves a logged model of the store or server at an address."""
    return (
        f"MLFLOW_TRACKING_URI={shlex.quote(uri)} {program()} models serve "
        f"-m models:/{model_id} --env-manager local --port 5001"
    )


def _facts(found: Arrivals, store: str) -> dict[str, Any]:
    return {"uri": store, "others": found.others(store), "behind": [run.key for run in found.behind]}


def _missing(found: Arrivals, store: str) -> None:
    """Print which runs have not arrived, and which other stores have some."""
    if found.behind:
        names = ", ".join(run.key for run in found.behind[:MOST]) + (", ..." if len(found.behind) > MOST else "")
        what = "has" if len(found.behind) == 1 else "have"
        where = "" if str(found.root) == "runs" else f" --runs {shlex.quote(str(found.root))}"
        count = plural(len(found.behind), "run")
        say(f"{count} {what} not arrived as a whole ({names}): `dlx runs sync{where}` delivers the rest.")
    for other in found.others(store):
        say(f"{found.newest[other].key} and others are in {other}: `dlx ui --uri {shlex.quote(other)}`")
