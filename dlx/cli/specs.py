"""Commands about a spec, and about what a spec may say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DlxError
from . import completion
from .options import (
    AsJson,
    Format,
    Overrides,
    Plugins,
    Runs,
    SpecPath,
    StageName,
    Verdict,
    check_claims,
    garbage_collection_off,
)

if TYPE_CHECKING:
    from ..claims.verify import VerifiedSpec
    from ..graph import Graphs
    from ..spec import Experiment


def inspect(
    spec: SpecPath,
    overrides: Overrides = None,
    plugin: Plugins = None,
    form: Format = None,
    as_json: AsJson = False,
    depth: Annotated[int | None, typer.Option(min=1, metavar="N", help="Fold blocks below N levels.")] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="[NAME=]3x512x512", help="Another input shape; once for each input."),
    ] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="All about one layer.")] = None,
    stage: StageName = None,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Memory of a batch of N.")] = None,
    tool: Annotated[str | None, typer.Option("--as", metavar="TOOL", help="As another tool counts it.")] = None,
    how_long: Annotated[bool, typer.Option("--time", help="How long the training will take here.")] = False,
) -> None:
    """Show shapes, parameters, MACs and receptive fields.

    Every layer of the network in a table, and the totals; with --batch the memory that a training step will take,
    with --as the figures of torchvision, keras, timm, darknet or torchinfo, and what lies between them and dlx's.
    Nothing is trained and torch is not loaded; only --time takes the first steps of the training, a second or two of
    them, and throws them away.

    Example: dlx inspect cs231n/resnet50 --depth 1
    """
    _check_layer(layer, {"--batch": bool(batch), "--time": how_long})
    if how_long and (shapes or stage or tool):
        message = (
            "`--time` is about the training of the spec as it stands, and `--input`, `--stage` and `--as` are not"
        )
        raise DlxError(message, hint="Leave the others out.")
    with garbage_collection_off():
        from .. import graph
        from .. import spec as specs
        from ..show import console, forms, training_time
        from ..show import inspect as tables
        from ..show import stages as staged

        chosen = forms.form_of(form, as_json)
        loaded = specs.load(spec, overrides or [], plugins=plugin or [])
        experiment, traced = _traced(loaded, stage, shapes or [])
        taken, source = _taken(experiment, traced)
        noise = getattr(experiment.data, "label_noise", None)
        steps = graph.memory_forecast.of_each(experiment, traced, batch) if batch else {}
        by_phase = graph.phase_memory.of_phases(experiment, traced, batch) if batch else {}
        stages = graph.stage_plans(experiment, traced, batch)
        network, one = traced.find(layer) if layer is not None else ("", None)
        counted = (
            graph.counted_as(tool, [one] if one else [n for _, n in traced.nodes()]) if tool is not None else None
        )
        spent = training_time.of(loaded) if how_long else None
        if chosen == "json":
            document = tables.inspected(traced, network, one, steps, counted, by_phase if not one else {}, stages)
            document |= {"weights": taken.as_json(source)} if taken else {}
            document |= training_time.document(spent)
            console.document(document | ({"label_noise": noise.model_dump(exclude_none=True)} if noise else {}))
        elif chosen == "csv" and not counted and not one:
            by_stage = {each.name: each.graphs for each in stages} or {"": traced}
            with forms.printed_as(chosen):
                tables.layer_table(by_stage, depth, batch).print()
        else:
            remarks = [taken.sentence(source)] if taken is not None else []
            remarks += [f"label noise: {noise.in_words()}"] if noise is not None else []
            with forms.printed_as(chosen):
                if counted:
                    from ..show import other_tools as counts

                    counts.counted(traced.full(network, one.name) if one else traced.name, counted, steps)
                elif one:
                    tables.one_layer(one, traced.full(network, one.name))
                elif stages:
                    staged.stages(traced, stages, depth)
                else:
                    tables.summaries(traced, depth, steps, by_phase, remarks)
                training_time.table(spent)
        console.warnings(traced.warnings)
        check_claims(graph.unmet(experiment, traced), [*shapes, *(overrides or [])] if shapes else overrides)


def _traced(loaded: Experiment, stage: str | None, shapes: Sequence[str]) -> tuple[Experiment, Graphs]:
    """Return a spec, or one stage of it, with its graphs, after all that it declares was looked at. SpecError."""
    from .. import graph
    from ..analysis import spec_checks

    if loaded.networks or loaded.weights is not None:
        from ..runs import lookup

        loaded = lookup.with_source(loaded, Path("runs"))
    experiment, traced = graph.traced(loaded, stage, shapes)
    spec_checks.check(loaded, traced if stage is None and not shapes else None)
    return experiment, traced


def _check_time(how_long: bool, others: dict[str, bool]) -> None:
    """Raise DlxError where the time of a training is asked for beside what changes or narrows the spec."""
    if how_long and (asked := next((name for name, is_asked in others.items() if is_asked), "")):
        message = f"`--time` is about the training of the whole spec, and `{asked}` is not"
        raise DlxError(message, hint="Leave one of the two out.")


def _taken(experiment: Experiment, traced: Graphs) -> tuple[Any, str]:
    """Return what `weights` takes from its source, and the source in words; None without `weights`."""
    if experiment.weights is None:
        return None, ""
    from ..graph import initial_weights

    return initial_weights.inspected(experiment, traced), experiment.weights.source


def _check_layer(layer: str | None, others: dict[str, bool]) -> None:
    """Raise DlxError where something about the whole network is asked for beside one layer."""
    if layer is not None and (asked := next((name for name, is_asked in others.items() if is_asked), "")):
        hint = "Leave one of the two out."
        raise DlxError(f"`{asked}` is about the whole network, and `--layer` about one layer", hint=hint)


def data(
    spec: SpecPath,
    overrides: Overrides = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Pictures of examples, as training sees them.")
    ] = None,
    stage: StageName = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what a spec reads as its data.

    The fields with their types and why they have them, the parts, classes with their counts, values and missing ones,
    preprocessing with what was fitted, and a few examples; --png writes pictures beside what augmentation makes of
    them, with maps of classes over them; of stages those of the last, or of --stage. Nothing is trained, and a spec
    without a network will do.

    Example: dlx data digits/lenet --png digits.png
    """
    from .. import spec as specs
    from ..analysis.data import description
    from ..show import console
    from ..show import data as tables
    from ..spec.one_stage import stage_of

    experiment = specs.load(spec, overrides or [], plugins=plugin or [])
    last = experiment.stages[-1].name if experiment.stages else None
    single = experiment if (name := stage or last) is None else stage_of(experiment, name)
    found = description.described(experiment if stage is None else single)
    sentences = []
    if png is not None:
        from ..analysis.data import pictures

        sentences = [pictures.save(single, list(found.values())[-1], png, name)]
    if as_json:
        documents = {name: one.as_json() for name, one in found.items()}
        document = documents.get("", {"stages": documents})
        console.document(document | ({"png": str(png)} if png is not None else {}))
    else:
        tables.described(found)
    for one in found.values():
        for note in (*one.sets.notes, *sentences):
            console.say(note)


def layers(
    kind: Annotated[str | None, typer.Argument(help="One kind, in full.", autocompletion=completion.kinds)] = None,
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="Also the kinds of its plugins.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Everything in full, as one page.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List all that a spec can name, or show one in full, or a section: `train`, `train.early_stopping`, `data`.

    Layers, structures, data sets, objectives, losses, initialisers, optimizers and schedules; with SPEC or --plugin
    also those of your own.

    Example: dlx layers conv
    """
    from .. import spec as specs
    from ..reference import markdown_page, vocabulary
    from ..show import console, listings
    from ..spec import section_pages
    from ..spec.syntax.read import SUFFIXES

    if spec is None and kind is not None and kind.endswith(SUFFIXES):
        spec = Path(kind)
        kind = None
    specs.use_plugins_of(spec, plugin or [])
    if markdown:
        console.out(markdown_page.markdown(kind))
    elif as_json:
        console.document(vocabulary.as_json(section_pages.page(kind) if kind is not None else None))
    elif kind is None:
        listings.vocabulary(vocabulary.families())
    else:
        listings.layer_page(section_pages.page(kind))


def verify(
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC | KEY=VALUE",
            help="Specs, or folders of them; else ./specs, or all of dlx. Changes to all, such as their data.",
            autocompletion=completion.specs,
        ),
    ] = None,
    only: Annotated[
        Verdict | None, typer.Option(metavar="VERDICT", help="Show those that hold, that fail, ...")
    ] = None,
    training: Annotated[bool, typer.Option("--train", help="Train what makes claims about results.")] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Train what has figures under `recorded`, and check those instead.")
    ] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Hold what specs claim under `expect` against what is so.

    A table a spec: the claim, its source, the book's figure, dlx's, and the verdict: holds, book wrong (with the
    reason), FAILS, or not run, where the claim is about a training. The exit status is 1 where one fails, 2 where a
    spec is wrong. Figures of one's own trainings, under `recorded`, are no receipts: --recorded checks them, and
    with --train both.

    Example: dlx verify udl
    """
    from ..claims import verify
    from ..show import verify as verdicts

    # A file may have `=` in its name.
    changes = [text for text in specs or [] if "=" in text and not Path(text).exists()]
    paths = [Path(text) for text in specs or [] if text not in changes]
    sections = [name for name, asked in {"expect": training or not recorded, "recorded": recorded}.items() if asked]
    found = verify.verify(verify.find_specs(paths), changes, plugin or [], sections)
    if training or recorded:
        found = (verify.after_training(one, runs) for one in found)
    found = (_with_analyses(one, training) for one in found)
    if status := verdicts.verified(found, as_json, only):
        raise typer.Exit(status)


def _with_analyses(one: VerifiedSpec, training: bool) -> VerifiedSpec:
    """Return a spec with the receipts of its claims on analyses, for which torch is imported."""
    if not one.experiment.analyses:
        return one
    from ..analysis import declared

    return declared.judged(one, training=training)


def specs(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help="Those of one folder, such as zoo.", autocompletion=completion.shipped_folders
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the specs that dlx brings.

    Each can be named from anywhere, where a command takes a spec: `dlx inspect zoo/gpt2`. A file of yours
    that is called so comes first.

    Example: dlx specs zoo
    """
    from ..show import listings
    from ..spec import compose, shipped

    found = {name: compose.source(path) for name, path in shipped.specs_by_name(folder).items()}
    listings.shipped_specs(found, as_json)


def explain(
    spec: SpecPath,
    overrides: Overrides = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="One layer, or a block.")] = None,
    stage: StageName = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="[NAME=]3x512x512", help="Another input shape; once for each input."),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the arithmetic behind the figures of `inspect`.

    Output size, parameters, MACs, memory and receptive field of a layer, line by line, with its own numbers. Without
    --layer: how the totals add up, and which layers there are, of each network.

    Example: dlx explain cs231n/resnet50 --layer conv_1
    """
    from .. import graph
    from .. import spec as specs
    from ..graph import explain as pages
    from ..show import console
    from ..show import explain as workings

    _, traced = graph.traced(specs.load(spec, overrides or [], plugins=plugin or []), stage, shapes or [])
    workings.explanations(pages.pages_of(traced, layer), as_json)
    if layer is None:
        console.warnings(traced.warnings)


def diff(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", help="A spec, YAML or TOML, or a shipped one.", autocompletion=completion.specs),
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="Another one, or the same.", autocompletion=completion.specs)
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to B, in Hydra's grammar.")
    ] = None,
    stage: StageName = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Compare two specs: layers, costs and settings.

    Layers are aligned by what they are, not by name. A row for each that was added, removed or changed, with the
    difference in parameters, MACs and memory; then the totals and the other settings. Overrides apply to B.

    Example: dlx diff digits/lenet digits/lenet network.layers.conv_1.kernel_size=3
    """
    from .. import spec as specs
    from ..graph.comparison import diff as diffs
    from ..show import diff as differences

    both = [specs.load(a, plugins=plugin or []), specs.load(b, overrides or [], plugins=plugin or [])]
    if stage is not None:
        from ..spec.one_stage import stage_of

        both = [stage_of(each, stage) if each.stages else each for each in both]
    differences.difference(diffs.diff(*both), as_json)


def why(
    spec: SpecPath,
    key: Annotated[str, typer.Argument(metavar="KEY", help="What is asked for, as overrides name it.")],
    overrides: Overrides = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Tell where a value comes from, and what it replaced.

    The file and line, the override or the default that gave it; of an expression also what it comes to. Layers inside
    blocks go by the names that `inspect` shows: network.layers.bottleneck_1/conv_2.stride. Of a section: all in it.

    Example: dlx why cs231n/resnet101 vars.depths
    """
    from .. import graph
    from .. import spec as specs
    from ..graph import origin
    from ..show import why as origins

    experiment = specs.load(spec, overrides or [], plugins=plugin or [])
    origins.origin(origin.why(experiment, graph.trace_all(experiment), key, overrides or []), as_json)


def doctor(
    spec: SpecPath,
    overrides: Overrides = None,
    stage: StageName = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Also what takes minutes.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong, in seconds, before training.

    The data and its parts, the loss before the first update, dead and saturated units, the scale of signals and
    gradients by depth, gradients against differences, the size of updates, a batch by heart, and the learning rate.
    Each finding with its line and a way out. The exit status is 1 where something is wrong. Nothing is kept.

    Example: dlx doctor digits/lenet train.optimizer.adamw.lr=10
    """
    from .. import spec as specs
    from ..analysis.doctor import diagnosis as clinic
    from ..show import doctor as diagnoses

    report = clinic.examine(specs.load(spec, overrides or [], plugins=plugin or []), thorough, stage)
    diagnoses.diagnosis(report, as_json)
    if report.wrong:
        raise typer.Exit(1)


def schema(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="Also the kinds of its plugins.")] = None,
    plugin: Plugins = None,
) -> None:
    """Print the JSON schema of a spec, for editors.

    Example: dlx schema > spec.schema.json
    """
    from .. import spec as specs
    from ..show import console
    from ..spec import schema as schemas

    specs.use_plugins_of(spec, plugin or [])
    console.document(schemas.schema())


def new(
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="The spec to write, .yaml or .toml.")] = None,
    starter: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A starter of --list, or a shipped spec.", autocompletion=completion.starters
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Fit the spec to a table, arrays, or a folder of pictures.")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of --data to predict.")] = None,
    no_target: Annotated[
        bool, typer.Option("--no-target", help="Predict nothing: an autoencoder of --data without labels.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the starters.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a spec to start from.

    A small one that runs, a starter, a copy of a shipped spec, or one that fits your data: --data reads the columns
    and writes what to predict, what is left out, the network and the training, with the reasons beside it.

    Example: dlx new first.yaml && dlx train first.yaml
    """
    from ..show import console, listings
    from ..spec import starter as starters

    if listed:
        listings.starters(starters.names(), as_json)
        return
    if data is not None and starter is not None:
        raise DlxError("`--data` and `--starter` both say what to write", hint="Give one of the two.")
    if no_target and (target is not None or data is None):
        other = "`--target` names what to predict" if target is not None else "there is no `--data`"
        raise DlxError(f"`--no-target` is of data without labels, and {other}", hint="Leave one of the two out.")
    if target is not None and data is None:
        raise DlxError("`--target` is a column of `--data`", hint="Name the table: `--data my.csv`.")
    file = path or Path(f"{data.name.split('.')[0]}.yaml" if data is not None else "")
    if not file.name:
        hint = "Name one: `dlx new first.yaml`; `dlx new --list` lists starters."
        raise DlxError("there is no file to write", hint=hint)
    notes: tuple[str, ...] = ()
    if data is not None:
        notes = starters.write_for(file, data, target, unlabelled=no_target, force=force)
    else:
        starters.write(file, starter or starters.DEFAULT, force=force)
    if as_json:
        console.document({"file": str(file), "notes": list(notes)})
        return
    for note in notes:
        console.out(note)
    console.out(f"{file} is written. Look at it with `dlx inspect {file}`, run it with `dlx train {file}`.")
