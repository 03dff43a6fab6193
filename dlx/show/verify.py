"""The receipts of `dlx verify`: claim, source, the source's figure, that of dlx, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from ..errors import DlxError, plural
from ..graph.expect import Receipt, Verdict, claims, format_claim, format_value
from .console import TextTable, document, out

if TYPE_CHECKING:
    from ..claims.verify import VerifiedSpec

VERDICTS: Sequence[str] = get_args(Verdict)


@dataclass(frozen=True)
class _Group:
    """Claims that are printed and counted together; of receipts alone a verdict can be `book wrong`."""

    title: str
    """The head of their column."""
    figure: str
    """The head of the column of what is claimed."""
    one: str
    """What one of them is called."""
    verdicts: Counter[str] = field(default_factory=Counter)

    def counts(self, specs: str = "") -> str:
        """Return `7 receipts of 1 spec: 5 holds, 2 not run`."""
        parts = [f"{self.verdicts[v]:,} {v}" for v in VERDICTS if self.verdicts[v]]
        counted = plural(self.verdicts.total(), self.one)
        return f"{counted}{f' of {specs}' if specs else ''}{': ' if parts else ''}{', '.join(parts)}"


def verified(specs: Iterable[VerifiedSpec], as_json: bool, only: str | None = None) -> int:
    """Print the receipts as they come, a table for each spec, then their counts. Return the exit status.

    Arithmetic and recorded figures are no receipts, and stand apart. Mistakes of specs come last: as a DlxError, or
    in the JSON document.
    """
    groups = {
        "receipts": _Group("claim", ">book", "receipt"),
        "arithmetic": _Group("arithmetic", ">book", "arithmetic figure"),
        "recorded": _Group("recorded", ">then", "recorded figure"),
    }
    documents: list[dict[str, Any]] = []
    wrong, left = None, 0
    try:
        for one in specs:
            judged = {name: [r for r in one.receipts if _group_of(r) == name] for name in groups}
            for name, group in groups.items():
                group.verdicts.update(r.verdict for r in judged[name])
            shown = {name: [r for r in found if only in (None, r.verdict)] for name, found in judged.items()}
            documents.append(
                {"spec": str(one.experiment.path)} | {name: [r.as_json() for r in shown[name]] for name in groups}
            )
            left += 0 if judged["recorded"] else len(claims(one.experiment, "recorded"))
            if any(shown.values()) and not as_json:
                _tables(one, [(groups[name], found) for name, found in shown.items() if found])
    except DlxError as error:
        wrong = error
    if as_json:
        document(_document(documents, groups, wrong))
    elif documents or not wrong:
        _counts(groups, plural(len(documents), "spec"), left)
    if wrong and not as_json:
        raise wrong
    return 2 if wrong else int(any(group.verdicts["FAILS"] for group in groups.values()))


def _group_of(receipt: Receipt) -> str:
    if receipt.claim.section == "recorded":
        return "recorded"
    return "receipts" if receipt.claim.is_receipt else "arithmetic"


def _document(documents: list[dict[str, Any]], groups: dict[str, _Group], wrong: DlxError | None) -> dict[str, Any]:
    """Return the JSON document: `receipts` and their `verdicts`, and those of what is no receipt beside them."""
    counted = {name: {v: group.verdicts[v] for v in VERDICTS} for name, group in groups.items()}
    found = {"specs": documents, "receipts": groups["receipts"].verdicts.total(), "verdicts": counted.pop("receipts")}
    return found | counted | ({"errors": [problem.as_json() for problem in wrong.problems]} if wrong else {})


def _counts(groups: dict[str, _Group], specs: str, left: int) -> None:
    """Print how many claims of each group have which verdict, and how many recorded figures were not looked at."""
    counted = [group for group in groups.values() if group.verdicts] or [groups["receipts"]]
    for i, group in enumerate(counted):
        out(group.counts(specs if i == 0 else ""), "bold")
    if left:
        out(f"{plural(left, 'recorded figure')}: `dlx verify --recorded` trains and checks them", "dim")


def _tables(one: VerifiedSpec, shown: Sequence[tuple[_Group, Sequence[Receipt]]]) -> None:
    out(f"{one.experiment.name}  ({one.experiment.path})", "bold")
    if one.experiment.source:
        out(one.experiment.source, "dim")
    for group, receipts in shown:
        grid = TextTable(group.title, "source", group.figure, ">dlx", "verdict", styles=["cyan"], spare=("source",))
        for receipt in receipts:
            own = receipt.claim.source if receipt.claim.source != one.experiment.source else ""
            grid.add(receipt.claim.title, own, _book(receipt), _ours(receipt), receipt.verdict)
        grid.print()
        for receipt in receipts:
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
