"""All receipts of a spec, those about exact values too: what `dlx verify` runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import graph as graphs
from ..errors import DlxError, Mark, Problem, SpecError
from ..graph import Graphs
from ..graph.expect import Receipt, claims, of_results, receipts
from ..spec import Experiment, load, shipped
from ..spec.sections.expect import EXACT
from ..spec.syntax.read import MAX_BYTES, SUFFIXES
from . import exact


@dataclass(frozen=True)
class Verified:
    """A spec with its receipts, in the order of its `expect`."""

    experiment: Experiment
    graphs: Graphs
    receipts: Sequence[Receipt]


def found(paths: Sequence[Path]) -> list[Path]:
    """The specs at `paths`, shipped ones by name too: files, and every whole spec in a folder.

    Without `paths`: those in ./specs, else all that dlx ships. SpecError where there is none.
    """
    places = {path: shipped.place(path) for path in paths or [Path("specs")]}
    missing = [path for path, place in places.items() if place is None]
    if missing:
        hint = "Name specs, or folders of them: `dlx verify udl`."
        problems = (Problem(f"there is no {p}", shipped.near(p) or hint, Mark(str(p))) for p in missing)
        raise SpecError(*problems)
    whole = [place for place in places.values() if place is not None]
    specs = [spec for path in whole for spec in (_below(path) if path.is_dir() else [path])]
    if not specs:
        where = " and ".join(map(str, whole))
        raise SpecError(Problem(f"there are no specs in {where}", "A spec starts with `dlx: 1`.", Mark(where)))
    return list(dict.fromkeys(specs))


def _below(folder: Path) -> Iterator[Path]:
    """Files that say which version of the format they are: others are parts of specs."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and _is_whole(path):
            yield path


def _is_whole(path: Path) -> bool:
    """Whether a file says so, or cannot be read, which is told when it is its turn."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return True
    return any(line.startswith((b"dlx:", b"dlx =", b"dlx=")) for line in lines)


def verify(paths: Iterable[Path], changes: Sequence[str] = (), plugins: Sequence[str] = ()) -> Iterator[Verified]:
    """Each spec with its receipts. SpecError, after the last of them, with the mistakes of those that are wrong."""
    problems: list[Problem] = []
    for path in paths:
        try:
            experiment = load(path, changes, plugins=plugins)
            traced = graphs.trace_all(experiment)
            yield Verified(experiment, traced, all_of(experiment, traced))
        except DlxError as error:
            problems += error.problems
    if problems:
        raise SpecError(*problems)


def all_of(experiment: Experiment, traced: Graphs) -> list[Receipt]:
    """The receipts of one spec, in file order; torch is only imported where exact values are claimed."""
    wanted = [claim for claim in claims(experiment) if claim.quantity in EXACT]
    results = receipts(experiment, traced)
    if wanted:
        results += list(exact.receipts(wanted, experiment, traced.one))
    return sorted(results, key=lambda r: (r.claim.mark.file, r.claim.mark.line, r.claim.mark.column))


def trained(verified: Verified, runs: Path) -> Verified:
    """The same after a training, where claims are about one; they stay `not run` where it cannot start."""
    from ..experiment import runner

    if not any(receipt.claim.trained for receipt in verified.receipts):
        return verified
    try:
        metrics = runner.run(verified.experiment, runs).metrics
    except DlxError as error:
        why = error.problems[0].message
        after = [replace(r, why=why) if r.claim.trained else r for r in verified.receipts]
    else:
        judged_by = {r.claim.path: r for r in of_results(verified.experiment, metrics)}
        after = [judged_by.get(r.claim.path, r) for r in verified.receipts]
    return replace(verified, receipts=after)
