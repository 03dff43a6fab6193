"""Lists of kinds, shipped specs, runs and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from .console import TextTable, document, out, say

if TYPE_CHECKING:
    from ..reference.vocabulary import Page
    from ..runs.folder import RunFolder
    from ..track import SyncResult


def vocabulary(families: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """Print `dlx layers`, family by family."""
    for family, kinds in families.items():
        grid = TextTable(columns=2, styles=["cyan"])
        for kind, fields, summary in kinds:
            grid.add(kind, f"{summary}  ({fields})" if fields else summary)
        out(family, "bold")
        grid.print()
    out()
    out("One of them in full: dlx layers KIND.")


def layer_page(page: Page) -> None:
    """Print the page of one kind, as `dlx layers conv`."""
    out(page.kind, "bold cyan")
    out(page.text)
    if page.fields:
        grid = TextTable("field", "type", "default", "", styles=["cyan"])
        for row in page.fields:
            grid.add(*row)
        out()
        grid.print()
    if page.example:
        out()
        out(f"{page.example}\n    {page.numbers}")


def starters(about: Mapping[str, str], as_json: bool) -> None:
    """Show what `dlx new --starter` writes."""
    if as_json:
        document({"starters": [{"name": name, "about": text} for name, text in about.items()]})
        return
    grid = TextTable(columns=2, styles=["cyan"])
    for name, text in about.items():
        grid.add(name, text)
    grid.print()
    out()
    out("Write one: dlx new FILE --starter NAME; NAME may be a shipped spec too (dlx specs).")
    out("For your data: dlx new FILE --data my.csv.")


def shipped_specs(sources: Mapping[str, str], as_json: bool) -> None:
    """Print `dlx specs`: the name and the source of each."""
    if as_json:
        document({"specs": [{"name": name, "source": source} for name, source in sources.items()]})
        return
    grid = TextTable(columns=2, styles=["cyan"])
    for name, source in sources.items():
        grid.add(name, source)
    grid.print()
    out()
    out("Look at one: dlx inspect NAME. Train one that has data: dlx train NAME.")


def run_as_json(run: RunFolder) -> dict[str, Any]:
    """Return a run for `dlx runs --json`; of a damaged one with the reason as its `error`."""
    try:
        return _run_as_json(run)
    except DlxError as error:
        about = {"run": run.key, "dir": str(run.dir), "status": UNREADABLE, "steps": None, "seconds": None}
        return {**about, "metrics": {}, "stopped_early": False, "error": error.problems[0].message}


UNREADABLE = "unreadable"


def _run_as_json(run: RunFolder) -> dict[str, Any]:
    end = run.end() or {}
    return {
        "run": run.key,
        "dir": str(run.dir),
        "status": run.status(),
        "steps": end.get("step"),
        "seconds": end.get("seconds"),
        "metrics": end.get("metrics", {}),
        "stopped_early": end.get("stopped_early", False),
        **({"baseline": label} if (label := run.baseline()) else {}),
        **{key: end[key] for key in ("best", "average", "kept") if key in end},
        **{key: count for key, count in run.read_json("plan.json").items() if key == "remaining"},
    }


def run_list(runs: Sequence[RunFolder], root: Path) -> None:
    """Print `dlx runs`, with errors of damaged runs at the end."""
    if not runs:
        say(f"There are no runs in {root}. `dlx train SPEC` makes one.")
        return
    every = [run_as_json(run) for run in runs]
    named = any("baseline" in facts for facts in every)
    grid = TextTable(
        "run", "status", *(["baseline"] if named else []), ">steps", ">seconds", "metrics", styles=["cyan"]
    )
    damaged: list[str] = []
    for facts in every:
        metrics = "  ".join(f"{k} {v:.4g}" for k, v in facts["metrics"].items() if k.startswith(("test/", "valid/")))
        for one in facts.get("kept") or []:
            metrics += f"  {one['name']} {one['value']:.4g} (step {one['step']:,})"
        if "remaining" in facts:
            metrics += f"  remaining {facts['remaining']:,}"
        steps = f"{facts['steps']:,}" if facts["steps"] is not None else ""
        seconds = f"{facts['seconds']:.1f}" if facts["seconds"] is not None else ""
        label = [facts.get("baseline", "")] if named else []
        steps = "" if facts.get("baseline") else steps
        grid.add(facts["run"], facts["status"], *label, steps, seconds, metrics)
        if "error" in facts:
            damaged.append(facts["error"])
    grid.print()
    for error in damaged:
        say(error)


def synced(done: Sequence[tuple[RunFolder, SyncResult]], as_json: bool) -> None:
    """Print `dlx runs sync`: the state of each run that was delivered."""
    if as_json:
        document({"runs": [{"run": run.key, **result.as_json()} for run, result in done]})
        return
    for run, result in done:
        out(f"{run.key}  {result}")
    if not done:
        say("There are no runs to deliver.")
