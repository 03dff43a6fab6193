"""The report of runs and studies: one HTML file that needs no network."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DlxError, plural
from ..sweeps.study import Study
from . import output, page_analyses, page_best, page_curves, page_looks, page_results, page_runs
from .kinds import Band
from .page_bundle import bundle
from .page_html import Markup, chart, joined, paragraph, section, text
from .plot import Drawing
from .plot_groups import groups, study_of
from .plot_options import Options

HERE = Path(__file__).parent
RELOADING = '<html class="reloading" '
"""How a page begins that is written anew."""
WRITTEN = re.compile(r'data-written="[^"]*"')


@dataclass(frozen=True)
class PageOptions:
    """What `dlx report` is asked for, beside the runs."""

    band: Band = "auto"
    each: bool = False
    mistakes: int = 0
    """Worst examples of each run that are shown; they are measured anew, on its data."""
    title: str = ""
    reload: float = 0
    """Seconds after which the page loads itself anew, for it is written anew; 0 for a page that stays."""
    inside: bool = False
    """Whether networks are called anew for their filters, feature maps, attention, fields and calibration."""
    most: int = page_best.MOST
    """Groups of runs that are shown in full, the best ones; 0 for all. The table of results has all of them."""


@dataclass(frozen=True)
class Page:
    """A report as HTML."""

    html: str
    runs: tuple[str, ...]
    notes: tuple[str, ...]

    def at_rest(self) -> Page:
        """Return the page as it is when it is not written anew any more."""
        return replace(self, html=self.html.replace(RELOADING, "<html ", 1))

    def as_of_now(self) -> Page:
        """Return the page with this moment as that at which it was written."""
        return replace(self, html=WRITTEN.sub(f'data-written="{time.time():.1f}"', self.html, count=1))

    def write(self, path: Path) -> None:
        """Write the page. DlxError where the file cannot be written."""
        output.write(path, self.html.encode())

    def as_json(self) -> dict[str, object]:
        return {"runs": list(self.runs), "bytes": len(self.html.encode()), "notes": list(self.notes)}


def check_file(path: Path) -> None:
    """Raise DlxError for a file whose suffix says that it is no HTML."""
    if path.suffix.lower() not in {"", ".html", ".htm"}:
        hint = f"Call it `{path.with_suffix('.html')}`; `dlx plot` and `dlx draw` write pictures."
        raise DlxError(f"a report is a page of HTML, and the file is `{path}`", hint=hint)


def page(names: Sequence[str], root: Path, options: PageOptions) -> Page:
    """Return the report of the runs and studies that are named. DlxError where one is not there."""
    whole = Drawing(tuple(groups(names, root, options.each)), Options(band=options.band))
    title = options.title or ", ".join(group.label for group in whole.groups[:4])
    drawing, left_out = page_best.best(whole, options.most)
    whole.notes += [left_out] if left_out else []
    parts: dict[str, tuple[str, Callable[[], Sequence[Markup]]]] = {
        "results": (
            "Results",
            lambda: [*page_results.results(whole), *([paragraph(left_out, "note")] if left_out else [])],
        ),
        "search": ("Search", lambda: page_results.searches(names, root)),
        "network": ("Networks", lambda: page_runs.networks(drawing)),
        "curves": ("Curves", lambda: [page_curves.charts(drawing)]),
        "gradients": ("Gradients and updates", lambda: page_looks.sizes(drawing)),
        "confusion": ("Confusion matrices", lambda: _matrices(drawing)),
        "mistakes": ("Worst mistakes", lambda: page_results.mistakes(drawing, options.mistakes)),
        "inside": ("Inside the networks", lambda: page_looks.inside(drawing, options.inside)),
        "analyses": ("Analyses", lambda: page_analyses.analyses(drawing)),
        "samples": ("Samples", lambda: page_runs.samples(drawing)),
        "costs": ("Time and memory", lambda: page_runs.costs(drawing)),
        "spec": ("Specs", lambda: page_runs.specs(drawing)),
        "receipts": ("Receipts", lambda: page_results.receipts(drawing)),
        "environment": ("Environment", lambda: page_runs.environment(drawing)),
    }
    sections = {name: section(name, heading, *_safely(make)) for name, (heading, make) in parts.items()}
    there = {name: parts[name][0] for name, inner in sections.items() if inner}
    notes = tuple(dict.fromkeys(whole.notes))
    if notes:
        sections["notes"] = section("notes", "Notes", *(paragraph(note) for note in notes))
        there["notes"] = "Notes"
    runs = tuple(run.key for group in whole.groups for run in group.runs)
    html = _whole(title, there, joined(sections.values()), _count(names, root, len(runs)))
    if options.reload:
        about = f'data-reload="{options.reload:.1f}" data-written="{time.time():.1f}" '
        html = html.replace("<html ", RELOADING + about, 1)
    return Page(html, runs, notes)


def _count(names: Sequence[str], root: Path, runs: int) -> str:
    """Say of what a page is: runs, and studies with their trials, whose best ones stand for them."""
    studies = [Study.open(found) for name in names if (found := study_of(name, root)) is not None]
    if not studies:
        return plural(runs, "run")
    trials = plural(sum(len(one.trials) for one in studies), "trial")
    if len(studies) == 1:
        return f"a study of {trials}; networks and curves are of the best one"
    return f"{len(studies):,} studies of {trials}; networks and curves are of the best ones"


def _safely(make: Callable[[], Sequence[Markup]]) -> Sequence[Markup]:
    """Return the parts of a section; of a damaged run the sentence that says so, so that the page stays whole."""
    try:
        return make()
    except DlxError as error:
        return [paragraph(" ".join(filter(None, (one.message, one.hint))), "note") for one in error.problems]


def _matrices(drawing: Drawing) -> list[Markup]:
    if not page_results.has_matrices(drawing):
        return []
    each = [chart(f"matrix-{i}", spec["title"], spec) for i, spec in enumerate(page_curves.matrices(drawing))]
    return [Markup(f'<div class="matrices">{joined(each)}</div>'), *page_results.matrix_tables(drawing)]


def _whole(title: str, there: dict[str, str], inner: Markup, about: str) -> str:
    """Return the page around its sections: style, contents, and the charts' script at its end."""
    from .. import __version__

    links = "".join(f'<li><a href="#{name}">{text(heading)}</a></li>' for name, heading in there.items())
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
<header>
<h1>{text(title)}</h1>
<p class="note">{text(about)}</p>
<p class="reload note" role="status"><span>It trains on; this page follows.</span>
<button type="button" id="pause" aria-pressed="false">pause</button></p>
<nav aria-label="contents"><ul>{links}</ul></nav>
</header>
<main id="main">
{inner}
</main>
<footer class="note">dlx {text(__version__)}</footer>
<script>{bundle()}</script>
<script>
{script}</script>
</body>
</html>
"""
