"""`dlx analyze`: the experiments of the books on a spec or on runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import completion
from .options import AsJson, Checkpoint, Plugins, Runs

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="What is looked at, or the name of one of the spec's `analyses`; --list has all kinds.",
        autocompletion=completion.analyses,
    ),
]
Subjects = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SPEC | RUN... [KEY=VALUE]",
        help="A spec before training, or runs; changes to the spec, in Hydra's grammar.",
        autocompletion=completion.specs,
    ),
]
Options = Annotated[
    list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="An option of the kind; once for each.")
]
Output = Annotated[
    Path | None,
    typer.Option("--out", "--output", "-o", metavar="FILE", help="A picture .svg, .png, .pdf; .csv or .json."),
]
Theme = Annotated[Literal["light", "dark"], typer.Option(help="Colours of a picture.")]
Listed = Annotated[bool, typer.Option("--list", help="All kinds, with what each shows.")]


def analyze(
    kind: Kind = "",
    names: Subjects = None,
    options: Options = None,
    output: Output = None,
    theme: Theme = "light",
    checkpoint: Checkpoint = None,
    listed: Listed = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Look at a network as the books do: a figure, a table and numbers, each with its source.

    A spec is looked at with the weights that training would begin with, several seeds where a kind draws; a run with
    its trained ones. `dlx layers KIND` explains a kind and its options.

    Example: dlx analyze activation_scale udl/residual-54
    """
    from ..analysis import analyze as analyses
    from ..errors import DlxError
    from ..report import analysis_files
    from ..show import analyses as shown
    from ..spec import use_plugins_of

    if listed or not kind:
        use_plugins_of(None, plugin or [])
        shown.kinds(as_json)
        return
    form = analysis_files.format_of(output) if output is not None else None
    texts = names or []
    changes = [text for text in texts if text.startswith("~") or ("=" in text and not Path(text).exists())]
    places = [text for text in texts if text not in changes]
    analyses.check_order(kind, places, changes)
    subject = analyses.subject_of(places, changes, runs, checkpoint or "", plugin or [])
    name, analysis = analyses.chosen(kind, options or [], subject)
    if output is not None:
        analysis_files.check_writable(output)
    found = analyses.analyze(analysis, subject, name)
    try:
        if output is not None and form is not None:
            analysis_files.write(found, output, form, theme)
    except DlxError:  # what was computed is not lost
        shown.analyzed(found, None, as_json)
        raise
    shown.analyzed(found, output, as_json)
