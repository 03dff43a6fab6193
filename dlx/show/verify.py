"""The receipts of `dlx verify`: claim, source, the source's figure, that of dlx, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import DlxError, plural
from ..graph.expect import Receipt, format_claim, format_value
from .console import TextTable, document, out

if TYPE_CHECKING:
    from ..claims.verify import VerifiedSpec

VERDICTS = ("holds", "book wrong", "FAILS", "not run")


def verified(specs: Iterable[VerifiedSpec], as_json: bool, only: str | None = None) -> int:
    """Print the receipts as they come, a table for each spec, then their counts. Return the exit status.

    Mistakes of specs come last: as a DlxError, or in the JSON document.
    """
    tally: Counter[str] = Counter()
    documents, wrong = [], None
    try:
        for one in specs:
            shown = [r for r in one.receipts if only is None or r.verdict == only]
            tally.update(r.verdict for r in one.receipts)
            documents.append({"spec": str(one.experiment.path), "receipts": [r.as_json() for r in shown]})
            if shown and not as_json:
                _table(one, shown)
    except DlxError as error:
        wrong = error
    if as_json:
        found = {"specs": documents, "receipts": sum(tally.values()), "verdicts": {v: tally[v] for v in VERDICTS}}
        document(found | ({"errors": [problem.as_json() for problem in wrong.problems]} if wrong else {}))
    elif documents or not wrong:
        parts = [f"{tally[v]:,} {v}" for v in VERDICTS if tally[v]]
        counts = plural(sum(tally.values()), "receipt"), plural(len(documents), "spec")
        out(f"{counts[0]} of {counts[1]}{': ' if parts else ''}{', '.join(parts)}", "bold")
    if wrong and not as_json:
        raise wrong
    return 2 if wrong else int(bool(tally["FAILS"]))


def _table(one: VerifiedSpec, shown: Sequence[Receipt]) -> None:
    out(f"{one.experiment.name}  ({one.experiment.path})", "bold")
    if one.experiment.source:
        out(one.experiment.source, "dim")
    grid = TextTable("claim", "source", ">book", ">dlx", "verdict", styles=["cyan"], spare=("source",))
    for receipt in shown:
        own = receipt.claim.source if receipt.claim.source != one.experiment.source else ""
        grid.add(receipt.claim.title, own, _book(receipt), _ours(receipt), receipt.verdict)
    grid.print()
    for receipt in shown:
        if receipt.verdict == "book wrong":
            out(f"  {receipt.claim.title}: {receipt.claim.figures['because']}", "yellow")
        elif receipt.verdict == "FAILS":
            claim = receipt.claim
            out(f"  {claim.mark}: claims {claim.title} {format_claim(claim)}, and {receipt.why}", "red")
    out()


def _book(receipt: Receipt) -> str:
    """Return the figure that the source prints."""
    figures = receipt.claim.figures
    return format_value(figures["book"]) if "book" in figures else format_claim(receipt.claim)


def _ours(receipt: Receipt) -> str:
    return "" if receipt.ours is None else format_value(receipt.ours)
