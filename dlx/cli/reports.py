"""Commands that show runs as pictures and pages, and in MLflow."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..report.kinds import Band, Kind
from . import completion
from .options import AsJson, Runs

AboutMean = Annotated[
    Band,
    typer.Option(
        help="About a mean over runs: its 95 % interval, one standard deviation, all runs, nothing; auto is the "
        "interval, of two runs their range."
    ),
]


def plot(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs, studies, or names of runs.", autocompletion=completion.run_names
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What is drawn, once for each; else losses and the main one."),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What is drawn.")] = "curve",
    x: Annotated[
        str, typer.Option("--x", metavar="KEY", help="step, epoch or time; of a scatter any recorded key.")
    ] = "",
    scale: Annotated[Literal["linear", "log"], typer.Option(help="Of the values.")] = "linear",
    x_scale: Annotated[
        Literal["linear", "log"], typer.Option("--x-scale", help="Of the horizontal axis.")
    ] = "linear",
    band: AboutMean = "auto",
    each: Annotated[bool, typer.Option("--each", help="Each run by itself, and no others of its spec.")] = False,
    part: Annotated[
        str, typer.Option(metavar="PART", help="Of confusion, calibration and examples: train, valid or test.")
    ] = "",
    layer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of features, attention and fields; else all.")
    ] = None,
    example: Annotated[int, typer.Option(min=0, metavar="N", help="The example of the part that is looked at.")] = 0,
    bins: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Of calibration.")] = 15,
    theme: Annotated[Literal["light", "dark"], typer.Option(help="Colours.")] = "light",
    form: Annotated[
        Literal["svg", "png", "pdf", "tikz", "csv"] | None,
        typer.Option("--format", help="svg, png, pdf, tikz or csv; else the suffix of the file says it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", metavar="FILE", help="By default plot.FORMAT.")
    ] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Draw runs: curves, bars, scatter, confusion and calibration, filters, features, attention, fields, samples.

    A run stands for itself and all finished runs that differ from it in seed and fold alone, drawn as their mean with
    a band; a name for the newest run of it, a study for its best trial. Metrics of one quantity share a panel. The
    file is a picture, pgfplots for LaTeX, or the values as CSV.

    Example: dlx plot wide narrow --metric valid/error --output error.pdf
    """
    from ..report import charts_files
    from ..report import plot as plots
    from ..report.plot_options import Options
    from ..show import plot as page

    chosen = charts_files.format_of(output, form)
    path = output or Path(f"plot.{chosen}")
    options = Options(
        tuple(metric or ()), kind, x, scale, x_scale, band, each, part, tuple(layer or ()), example, bins
    )
    found = plots.plot(names, runs, options)
    charts_files.write(found.figure, path, chosen, theme)
    page.plotted(found.as_json(), found.notes, path, as_json)


def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|STUDY...", help="Runs, studies, or names of runs.", autocompletion=completion.run_names
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "--out", "-o", metavar="FILE", help="The page.")] = Path(
        "report.html"
    ),
    mistakes: Annotated[
        int,
        typer.Option(min=0, max=100, metavar="N", help="The N worst examples, for which networks are measured anew."),
    ] = 0,
    band: AboutMean = "auto",
    each: Annotated[bool, typer.Option("--each", help="Each run by itself, and no others of its spec.")] = False,
    most: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Curves, specs and pictures of the best N of many; 0 for all."),
    ] = 50,
    title: Annotated[str, typer.Option(metavar="WORDS", help="Title of the page.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Write it anew until the training has ended.")] = False,
    inside: Annotated[
        bool,
        typer.Option("--inside", help="Filters, feature maps, attention and calibration; networks are called anew."),
    ] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Write a page about runs and studies that needs no network.

    Results with intervals, curves by step and by time with bands over seeds, learning rate, confusion matrices, worst
    mistakes, samples, time and memory, specs with their differences marked, environment and receipts, in one HTML
    file. Names stand for what they stand for in `dlx plot`.

    Example: dlx report wide narrow --output report.html
    """
    from ..report import page as pages
    from ..show import plot as shown

    pages.check_file(output)
    options = pages.PageOptions(band, each, mistakes, title, inside=inside, most=most)
    if watch:
        from ..report.watch import watch as watched

        found = watched(names, runs, options, output, lambda seconds: shown.watching(output, seconds))
    else:
        found = pages.page(names, runs, options)
        found.write(output)
    shown.plotted(found.as_json(), found.notes, output, as_json)


def ui(
    folder: Annotated[Path, typer.Argument(metavar="RUNS-DIR", help="Where run folders are kept.")] = Path("runs"),
    host: Annotated[str, typer.Option(metavar="HOST", help="Who may see it: 0.0.0.0 for all in the network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Where it answers.")] = 5000,
    uri: Annotated[str | None, typer.Option(metavar="URI", help="Another store than that of the runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start MLflow's pages on the runs; Ctrl-C ends them.

    The server of MLflow that is installed, on the store that the runs were delivered to. Says what has not arrived
    there, and how the newest model is served.

    Example: dlx ui
    """
    from ..show import server as shown
    from ..track import arrivals, server

    found = arrivals.arrivals(folder)
    store = found.chosen(uri)
    if server.is_server(store):
        shown.elsewhere(found, store, as_json)
        return
    server.check(host, port)
    with suppress(KeyboardInterrupt), server.serving(store, host, port) as process:
        shown.up(found, store, server.url_of(host, port), as_json, everybody=host in server.ALL_HOSTS)
        process.wait()
