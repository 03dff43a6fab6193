"""The command that draws networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import AsJson, Overrides, Plugins, SpecPath, StageName, garbage_collection_off


def draw(
    spec: SpecPath,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", metavar="FILE", help="The file; else NAME.svg.")
    ] = None,
    form: Annotated[
        Literal["svg", "png", "pdf", "mmd"] | None,
        typer.Option("--format", help="svg, png, pdf, or mmd for Mermaid; else the suffix of the file says it."),
    ] = None,
    style: Annotated[
        Literal["layers", "paper"],
        typer.Option(help="layers, or paper: volumes by size and channels, or cells."),
    ] = "layers",
    layer: Annotated[
        str | None, typer.Option("--receptive-field", metavar="LAYER", help="Draw what a value of a layer sees.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A PNG or JPEG to draw the receptive field on.")
    ] = None,
    depth: Annotated[int | None, typer.Option(min=0, metavar="N", help="Fold blocks below N levels.")] = None,
    unfold: Annotated[
        list[str] | None, typer.Option(metavar="BLOCK", help="Draw the inside of a block, or of `all`.")
    ] = None,
    fold: Annotated[list[str] | None, typer.Option(metavar="BLOCK", help="Draw a block, or `all`, as a box.")] = None,
    stage: StageName = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="[NAME=]3x512x512", help="Another input shape; once for each input."),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Draw the networks of a spec as a diagram.

    Layers with their shapes from top to bottom, the lines between them, blocks folded or open, equal ones in a row
    once with their number; several networks side by side. With --style paper the maps of a convolutional network as
    volumes and a recurrent one unrolled; with --receptive-field what a layer sees of its input. Nothing is trained
    and torch is not loaded.

    Example: dlx draw zoo/gpt2 --output gpt2.pdf
    """
    from .. import graph
    from .. import spec as specs
    from ..report import output as outputs
    from ..report.diagram import draw as diagrams
    from ..report.diagram.folding import Folding
    from ..show import console

    chosen = outputs.format_of(output, form, diagrams.FORMATS)
    folding = Folding(depth, tuple(fold or ()), tuple(unfold or ()))
    with garbage_collection_off():
        loaded = specs.load(spec, overrides or [], plugins=plugin or [])
        if loaded.networks or loaded.weights is not None:
            from ..runs import lookup

            loaded = lookup.with_source(loaded, Path("runs"))
        _, traced = graph.traced(loaded, stage, shapes or [])
        file = diagrams.file_of(traced, chosen, diagrams.Wanted(style, folding, layer, image))
    path = output or Path(f"{traced.name}.{chosen}")
    outputs.write(path, file.content)
    if as_json:
        console.document({"file": str(path), **file.as_json()})
    else:
        console.out(str(path))
    console.warnings(traced.warnings)
