"""Lists: layers, runs, what was delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from .console import console, document, out, say

if TYPE_CHECKING:
    from ..runs import Run
    from ..track import Synced
    from ..vocabulary import Page


def _plain_table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(titles))
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def vocabulary(families: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """`dlx layers`: a family at a time."""
    target = console()
    for family, kinds in families.items():
        table = _plain_table()
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for kind, fields, summary in kinds:
            table.add_row(kind, Text(summary) + Text(f"  ({fields})" if fields else "", style="dim"))
        target.print(Text(family, style="bold"), soft_wrap=True)
        target.print(table)
    out()
    out("One of them in full: dlx layers KIND. Beside layers: residual, parallel, repeat, for, share, and your own blocks.")


def layer_page(page: Page) -> None:
    """`dlx layers conv`."""
    target = console()
    target.print(Text(page.kind, style="bold cyan"), soft_wrap=True)
    out(page.text)
    if page.fields:
        out()
        table = _plain_table("field", "type", "default", "")
        for row in page.fields:
            table.add_row(*(Text(cell) for cell in row))
        target.print(table)
    out()
    out(f"{page.example}\n    {page.numbers}")


def run_as_json(run: Run) -> dict[str, Any]:
    end = run.end() or {}
    return {
        "run": f"{run.name}/{run.id}",
        "dir": str(run.dir),
        "status": run.status(),
        "steps": end.get("step"),
        "seconds": end.get("seconds"),
        "metrics": end.get("metrics", {}),
    }


def run_list(runs: Sequence[Run], root: Path) -> None:
    """`dlx runs`."""
    if not runs:
        say(f"There are no runs in {root}. `dlx train SPEC` makes one.")
        return
    table = _plain_table("run", "status", "steps", "seconds", "metrics")
    for run in runs:
        told = run_as_json(run)
        metrics = "  ".join(f"{k} {v:.4g}" for k, v in told["metrics"].items() if k.startswith(("test/", "valid/")))
        steps = f"{told['steps']:,}" if told["steps"] is not None else ""
        seconds = f"{told['seconds']:.1f}" if told["seconds"] is not None else ""
        table.add_row(told["run"], told["status"], steps, seconds, metrics)
    console().print(table)


def synced(done: Sequence[tuple[Run, Synced]], as_json: bool) -> None:
    """`dlx runs sync`."""
    if as_json:
        document({"runs": [{"run": f"{run.name}/{run.id}", **result.as_json()} for run, result in done]})
        return
    for run, result in done:
        out(f"{run.name}/{run.id}  {result}")
    if not done:
        say("There are no runs to deliver.")
