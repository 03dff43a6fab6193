"""Receipts of all claims of specs, those on exact values included (`dlx verify`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import graph as graphs
from ..errors import DlxError, Mark, Problem, SpecError
from ..graph import Graphs
from ..graph.expect import Receipt, claims, of_results, receipts
from ..runs.folder import RunFolder
from ..spec import Experiment, load, shipped
from ..spec.sections.expect import CLAIMING, EXACT
from ..spec.syntax.read import MAX_BYTES, SUFFIXES
from . import exact


@dataclass(frozen=True)
class VerifiedSpec:
    """A spec with the receipts of its claims: those of `expect`, of `recorded` or both, in the order of the file."""

    experiment: Experiment
    graphs: Graphs
    receipts: Sequence[Receipt]
    runs: Sequence[RunFolder] = ()
    """The runs of its training, where it was trained, one a seed."""


def find_specs(paths: Sequence[Path]) -> list[Path]:
    """Return the specs at `paths`: files, every whole spec in a folder, and shipped specs by name.

    Without `paths` those in ./specs, else all that dlx ships. Errors: SpecError where there is none.
    """
    places = {path: shipped.find_any(path) for path in paths or [Path("specs")]}
    missing = [path for path, place in places.items() if place is None]
    if missing:
        hint = "Name specs, or folders of them: `dlx verify udl`."
        problems = (Problem(f"there is no {p}", shipped.similar_hint(p) or hint, Mark(str(p))) for p in missing)
        raise SpecError(*problems)
    whole = [place for place in places.values() if place is not None]
    specs = [spec for path in whole for spec in (_specs_in(path) if path.is_dir() else [path])]
    if not specs:
        where = " and ".join(map(str, whole))
        raise SpecError(Problem(f"there are no specs in {where}", "A spec starts with `dlx: 1`.", Mark(where)))
    return list(dict.fromkeys(specs))


def _specs_in(folder: Path) -> Iterator[Path]:
    """Yield the whole specs in a folder: files that begin a line with `dlx:`. Others are config groups."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and _is_whole(path):
            yield path


def _is_whole(path: Path) -> bool:
    """Whether a file names the version of the format; also where it cannot be read, which `load` reports."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return True
    return any(line.startswith((b"dlx:", b"dlx =", b"dlx=")) for line in lines)


def verify(
    paths: Iterable[Path],
    changes: Sequence[str] = (),
    plugins: Sequence[str] = (),
    sections: Sequence[str] = ("expect",),
) -> Iterator[VerifiedSpec]:
    """Yield each spec with the receipts of its claims in `sections`: `expect`, `recorded` or both.

    Errors: SpecError after the last spec, with the mistakes of all specs that cannot be loaded or traced.
    """
    problems: list[Problem] = []
    for path in paths:
        try:
            experiment = load(path, changes, plugins=plugins)
            traced = graphs.trace_all(experiment)
            yield VerifiedSpec(experiment, traced, receipts_of(experiment, traced, sections))
        except DlxError as error:
            problems += error.problems
    if problems:
        raise SpecError(*problems)


def receipts_of(experiment: Experiment, traced: Graphs, sections: Sequence[str] = ("expect",)) -> list[Receipt]:
    """Return the receipts of one spec, in the order of the file; torch is imported only for exact values."""
    of_exact = [claim for one in sections for claim in claims(experiment, one) if claim.quantity in EXACT]
    results = [receipt for one in sections for receipt in receipts(experiment, traced, one)]
    if of_exact:
        results += list(exact.receipts(of_exact, experiment, traced.one))
    return sorted(results, key=lambda r: (r.claim.mark.file, r.claim.mark.line, r.claim.mark.column))


def after_training(verified: VerifiedSpec, runs: Path) -> VerifiedSpec:
    """Train a spec whose claims are about its results, and return it with their receipts.

    They stay `not run` where the training fails, with its message as the reason.
    """
    from ..experiment import runner

    experiment = verified.experiment
    of_trained = {name for name, one in experiment.analyses.items() if one.of_trained}
    if not any(r.claim.trained or (r.claim.analysis or ("",))[0] in of_trained for r in verified.receipts):
        return verified
    trained: list[RunFolder] = []
    try:
        results = runner.run(experiment, runs)
        metrics, trained = results.metrics, [one.run for one in results.results]
    except DlxError as error:
        why = error.problems[0].message
        after = [replace(r, why=why) if r.claim.trained else r for r in verified.receipts]
    else:
        found = (of_results(verified.experiment, metrics, section) for section in CLAIMING)
        by_path = {r.claim.path: r for each in found for r in each}
        after = [by_path.get(r.claim.path, r) for r in verified.receipts]
    return replace(verified, receipts=after, runs=trained)
