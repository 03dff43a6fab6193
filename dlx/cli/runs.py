"""Commands about what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .options import AsJson, Checkpoint, Combined, Format, Runs


def evaluate(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="A run, or several that answer together.", autocompletion=completion.run_names
        ),
    ],
    checkpoint: Checkpoint = None,
    part: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="train, valid or test; else what was held out.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|KEY=VALUE", help="Other data: a file like the run's own, or a field of it."),
    ] = None,
    combine: Combined = None,
    wrong: Annotated[
        int | None, typer.Option(metavar="N", help="The N worst examples of each part, with true and predicted.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Metrics by the value of a column or field, or by `class`.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column that stands beside the worst examples.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the examples or slices to .csv, .parquet or .jsonl.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="A sheet with the pictures of the worst examples.")
    ] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Measure a trained network once more, or several together.

    The metrics of the validation and test parts, to the same figures as at the end of its training; --part and --data
    take others, which go through the preprocessing that was fitted to the training set. Several runs, and the run of
    an ensemble, are measured one by one, in the mean, and together. --wrong and --by look closer at one network or at
    the average of several: columns may be any of the source's, inputs or not.

    Example: dlx evaluate last --part test --wrong 20 --by class
    """
    from ..runs import lookup
    from ..show import ensembles
    from ..trained import evaluate as evaluation
    from ..trained.closer import Closer

    closer = Closer(wrong, by, tuple(keep or ()), png is not None)
    closer.check_files(output, png)
    found = [lookup.find(one, runs) for one in run]
    measured = evaluation.evaluate(found, checkpoint, part or (), data or (), combine, closer)
    ensembles.evaluation(measured, as_json, output, png)


def predict(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run, or the run of an ensemble.", autocompletion=completion.run_names),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Inputs: arrays, a table, a picture or a folder.")],
    checkpoint: Checkpoint = None,
    combine: Combined = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column of FILE that stands beside its predictions; '*' for all."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability above which the second of two classes is answered, or least score of a box."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="Answer what a node gives, NETWORK/NODE of several networks: features."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Answer N times with dropout, else batch norms, drawn anew: the mean and the spread.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draws of --samples.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to .csv, .parquet, .jsonl or .npz; maps of classes into a folder."),
    ] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Ask a trained network about inputs it has not seen.

    Classes with their probabilities, or values, for what is in FILE: arrays (.npy, .npz), a CSV or parquet file with
    the columns of the run's table, a picture, or a folder of pictures. They are read and preprocessed as the training
    set was, which need not be there. Bytes are divided by 255. Of a detector boxes are answered, after non-maximum
    suppression; of heat maps joints; of a segmentation maps of classes. Autoencoders and densities answer a score,
    larger the odder an input is; --of answers what a node gives.

    Example: dlx predict last digits.npy --output digits.csv
    """
    from ..runs import lookup
    from ..show import ensembles
    from ..trained import predict as predictions

    asked = lookup.find(run, runs)
    found = predictions.predict(
        asked, file, checkpoint, combine, keep or (), threshold, of=of, samples=samples, seed=seed
    )
    ensembles.predictions(found, as_json, output)


def sample(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run that makes texts, waves or samples.", autocompletion=completion.run_names
        ),
    ],
    n: Annotated[
        int | None, typer.Option("--n", metavar="N", help="Tokens to make, by default 500; samples, by default 16.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text to go on with; of waves a file: .wav, .npy or .csv.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="Divisor of the logits; 0 takes the most probable token.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(metavar="K", help="Draw among the K most probable tokens.")] = None,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Draw among the most probable tokens that add up to P.")
    ] = 1.0,
    beam: Annotated[
        int | None, typer.Option(metavar="B", help="Search the most probable one among B, and draw none.")
    ] = None,
    samples: Annotated[int, typer.Option(metavar="N", help="Number of texts or waves.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the first one; the next is drawn by N + 1.")] = 0,
    of_class: Annotated[
        str | None, typer.Option("--class", metavar="C", help="Make samples of a class, by its name or number.")
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(metavar='"A - B + C"', help="Make a sample of an expression of the latents of others."),
    ] = None,
    interpolate: Annotated[
        str | None, typer.Option(metavar='"A, B"', help="Make samples on the way from the latent of one to another.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            "--given",
            metavar="FILE",
            help="Examples whose missing values, NaN or empty, are filled in, or that are translated.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Side that --given is translated to; by default the second one."),
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Also the prompt, before each one.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to a file: .wav, .npy, .csv of waves; .png, .npz of samples."),
    ] = None,
    rate: Annotated[
        int, typer.Option(metavar="HZ", min=1, max=10_000_000, help="Steps a second of a .wav file.")
    ] = 16_000,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Let a language model write, a network of waves go on, or a generative model make samples.

    The text alone on stdout; with several, a line `---` between them. Of waves a line a step, and a column each. The
    same seed gives the same one, however many are asked for. Each token passes the network once, where its layers can
    keep what they need of those before; else the last window passes for each. Without --prompt a text begins after a
    line break, a wave after silence. Samples go into a sheet, .png or .npz; A, B and C are their numbers, from 0 on,
    means of several, "(1, 4)", or classes, "class cat". What is missing in the examples of --given is drawn given the
    rest, --n times each, by objectives of exact probabilities; `cycle` turns them, arrays or pictures, into examples
    of its other side.

    Example: dlx sample last --n 500 --prompt "To be" --temperature 0.8
    """
    from ..runs import lookup
    from ..show import samples as shown
    from ..trained.sampling.asked import Asked, made_by
    from ..training.generation.decoding import Decoding

    asked = Asked(
        n=n,
        prompt=prompt,
        decoding=Decoding(temperature, top_k, top_p),
        beam=beam,
        samples=samples,
        seed=seed,
        of_class=of_class,
        arithmetic=arithmetic,
        interpolate=interpolate,
        known=known,
        to=to,
        echo=echo,
        checkpoint=checkpoint,
        output=output,
    )
    shown.made(made_by(lookup.find(run, runs), asked), as_json, output, echo, rate)


def neighbours(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run that embeds texts.", autocompletion=completion.run_names)
    ],
    of: Annotated[str, typer.Option("--of", metavar="WORD", help="Token that is asked about.")],
    n: Annotated[int, typer.Option("--n", metavar="N", help="Number of neighbours.")] = 5,
    layer: Annotated[
        str | None, typer.Option(metavar="NODE", help="The embedding, where there are several of texts.")
    ] = None,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Find the words whose vectors are nearest to that of a word.

    The vectors are the rows of an `embedding` that takes the tokens of a text; near is what has a large cosine.

    Example: dlx neighbours last --of cat --n 3
    """
    from ..runs import lookup
    from ..show import neighbours as words
    from ..trained import neighbours as nearest

    words.neighbours(nearest.neighbours(lookup.find(run, runs), of, n, layer, checkpoint), as_json)


def activations(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run of a text with a recurrent layer.", autocompletion=completion.run_names
        ),
    ],
    unit: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Unit, from 0 on; else the best one of each feature.")
    ] = None,
    layer: Annotated[str | None, typer.Option(metavar="NODE", help="Recurrent layer; by default the last.")] = None,
    text: Annotated[Path | None, typer.Option(metavar="FILE", help="Text to colour, in place of a part.")] = None,
    part: Annotated[
        str | None, typer.Option(metavar="PART", help="train, valid or test; by default the last there is.")
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", help="Tokens of it, from the first on.")] = 5000,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Colour a text by the activations of units of a recurrent layer.

    tanh of the cell of an LSTM, the state of an RNN or GRU, at each token; a page in the artifacts of the run.
    Without --unit the units that follow features of the text most closely: inside quotes, position in the line, ...

    Example: dlx activations last --unit 3 --unit 17
    """
    from ..runs import lookup
    from ..show import activations as pages
    from ..trained import activations as recurrent

    found = recurrent.activations(
        lookup.find(run, runs), unit or (), layer, file=text, part=part, n=n, name=checkpoint
    )
    pages.activations(found, as_json)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B...]",
            help="Runs, studies, or names of runs; the others are compared with the first.",
            autocompletion=completion.run_names,
        ),
    ],
    form: Format = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Compare the results of runs or studies, with intervals.

    A run stands for all finished runs that differ from it in seed and fold alone, a name for the newest of it and its
    baselines, a study for its folds or its best trial. Where seeds, folds and data agree, the differences are paired,
    so that what a seed or a fold does to both falls out; else it is said why not, and the interval is of two
    independent means.

    Example: dlx compare wide narrow
    """
    from ..show import comparison, forms
    from ..trained import difference

    chosen = forms.form_of(form, as_json)
    comparison.comparisons(difference.compare(names, runs), chosen)


def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run.", autocompletion=completion.run_names)],
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest relative difference of a result that is the same.")
    ] = 1e-3,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Run a run again, and tell whether the same comes out.

    From its spec and its lock, with as many threads and on the same kind of device, into a new run. Says what is not
    as the lock has it (versions, device, commit), and then `bitwise equal`, `within tolerance` with the largest
    relative difference, or `differs`, with the first step and the layer; the exit status is 1 then.

    Example: dlx reproduce last
    """
    from ..runs import lookup
    from ..show import prove_resume as proofs
    from ..show import training
    from ..trained import reproduce as reproductions

    with training.progress(quiet=as_json) as callback:
        found = reproductions.reproduce(lookup.find(run, runs), runs, tolerance, callback)
    proofs.reproduction(found, as_json)
    if found.verdict == "differs":
        raise typer.Exit(1)
