"""The analyses that a spec declares under `analyses`, run and held against the claims on their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..claims.verify import VerifiedSpec
from ..errors import DlxError, did_you_mean, first_line
from ..graph import Graphs
from ..graph.expect import Receipt, judge
from ..runs.folder import RunFolder
from ..spec import Experiment
from ..spec.analyses import Analysis
from .analyze import Analyzed, analyze
from .subject import Subject, of_runs, of_spec

UNTRAINED = "its analysis wants a training: `dlx verify --train`"


def subjects(experiment: Experiment, graphs: Graphs, runs: Sequence[RunFolder]) -> tuple[Subject, Subject | None]:
    """Return the spec before training and, where there are runs of it, after."""
    return of_spec(experiment, graphs), of_runs(runs) if runs else None


def look(name: str, analysis: Analysis, fresh: Subject, trained: Subject | None) -> Analyzed:
    """Run one declared analysis on the weights that it is of. DlxError where those are not there, or it fails."""
    if not analysis.of_trained:
        return analyze(analysis, fresh, name)
    if trained is None:
        raise DlxError(UNTRAINED)
    several = type(analysis).several == "seeds" or len(trained.runs) == 1
    return analyze(analysis, trained if several else trained.each[0], name)


def judged(one: VerifiedSpec, *, training: bool = False) -> VerifiedSpec:
    """Return a spec with the receipts of its claims on analyses, each of which is run once.

    Those that want a training stay `not run` unless it is asked for. Where an analysis fails, so do its claims.
    """
    claimed = {r.claim.analysis[0] for r in one.receipts if r.claim.analysis is not None}
    if not claimed:
        return one
    fresh, trained = subjects(one.experiment, one.graphs, one.runs)
    found: dict[str, Analyzed | str | None] = {}
    for name in claimed:
        analysis = one.experiment.analyses[name]
        try:
            wanted = training or not analysis.after_training
            found[name] = look(name, analysis, fresh, trained) if wanted else None
        except DlxError as error:
            found[name] = first_line(error) if not error.problems else error.problems[0].message
    return replace(one, receipts=[_receipt(r, found) for r in one.receipts])


def _receipt(receipt: Receipt, found: Mapping[str, Analyzed | str | None]) -> Receipt:
    """Return the receipt of a claim on an analysis; any other as it is."""
    if receipt.claim.analysis is None:
        return receipt
    name, figure = receipt.claim.analysis
    one = found[name]
    if one is None:
        return replace(receipt, why=UNTRAINED)
    if isinstance(one, str):
        return Receipt(receipt.claim, "FAILS", None, f"the analysis failed: {one}")
    figures = one.result.figures
    if figure not in figures:
        hint = did_you_mean(figure, figures, "the figures")
        return Receipt(receipt.claim, "FAILS", None, f"`{one.kind}` has no figure `{figure}`. {hint}".strip())
    value = figures[figure]
    return judge(receipt.claim, float(f"{value:.6g}") if isinstance(value, float) else value)


def of_run(
    runs: Sequence[RunFolder], experiment: Experiment, graphs: Graphs
) -> Iterator[tuple[str, Analyzed | DlxError]]:
    """Yield the analyses that the spec of finished runs declares, by name; an error for one that cannot be run.

    Kinds that train variants of a spec are left to `dlx analyze`.
    """
    fresh, trained = subjects(experiment, graphs, runs)
    for name, analysis in experiment.analyses.items():
        if type(analysis).trains:
            hint = f"`dlx analyze {name} {experiment.path.name}` runs it."
            yield name, DlxError(f"the analysis `{name}` trains variants of the spec", hint=hint)
            continue
        try:
            yield name, look(name, analysis, fresh, trained)
        except DlxError as error:
            yield name, error
