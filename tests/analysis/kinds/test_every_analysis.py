"""What holds for every kind of analysis: its words, its light import, finite figures, whole pictures, equal calls."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import experiment_of

from dlx.analysis import analyze
from dlx.analysis.fitting import problems_of
from dlx.analysis.result import Bars, Lines
from dlx.analysis.subject import Subject, of_runs, of_spec
from dlx.experiment import runner
from dlx.report import analysis_files
from dlx.spec.analyses import ANALYSES

KINDS = sorted(kind for kind in ANALYSES if ANALYSES[kind].__module__.startswith("dlx."))
PAGE = (Path(__file__).parents[3] / "docs" / "analyses.md").read_text()
HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "mlflow", "captum")
ROOMS = ("dlx.experiment", "dlx.training", "dlx.trained", "dlx.network", "dlx.analysis.subject")
"""Rooms that a kind asks its subject for: a spec that names the kind is inspected without them."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_where_it_is_from_and_how_it_is_asked_for(kind):
    cls = ANALYSES[kind]

    assert re.search(r"\d", cls.source), f"{kind}: `source` names no section, figure or year"
    assert cls.example.startswith(f"dlx analyze {kind} "), f"{kind}: `example` is no command of it"
    assert cls.figures, f"{kind}: `figures` names none, and claims on misspelt ones are accepted"
    assert len((cls.__doc__ or "").strip().splitlines()) > 2, f"{kind}: what it computes, and what the book says"
    assert f"\n### {kind}\n" in PAGE, f"docs/analyses.md has no heading for {kind}"


def test_kinds_are_named_in_a_spec_without_torch_and_without_a_training():
    script = (
        "import sys; from dlx.spec.analyses import ANALYSES; ANALYSES.load();"
        f"print(*sorted(m for m in sys.modules if m in {HEAVY!r} or m in {ROOMS!r}))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.split() == [], "imported where a kind is declared: import it inside `run`, or by dlx.lazy"


def test_problems_of_all_kinds_are_found_without_torch_and_without_the_data():
    script = (
        "import sys; from dlx.analysis.analyze import subject_of; from dlx.analysis.fitting import problems_of;"
        "from dlx.spec.analyses import ANALYSES;"
        "names = ('digits/lenet', 'udl/residual-54', 'aima/gradients-through-time');"
        "subjects = [subject_of([name]) for name in names];"
        "found = [problems_of(ANALYSES[kind](), one) for kind in ANALYSES for one in subjects];"
        "print(sum(map(bool, found)) > 0, 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.split() == ["True", "False"]


@pytest.mark.parametrize("kind", KINDS)
def test_options_have_defaults_or_the_example_sets_them(kind):
    words = re.findall(r"--set '?([\w.]+)=", ANALYSES[kind].example)
    required = {name for name, info in ANALYSES[kind].model_fields.items() if info.is_required()}

    assert required <= set(words)
    if not required:
        assert analyze.with_options(kind).weights is None


SPECS = {
    "vectors": """
name: vectors
data: {synthetic: {shape: [2], classes: 3, train: 60, valid: 30, test: 30}}
network: {layers: [{linear: 8}, relu, {linear: 3}]}
train: {steps: 20, batch_size: 20, seeds: 2, optimizer: {sgd: 0.1}}
track: {mlflow: false}
""",
    "images": """
name: images
data: {digits: {train: 60, valid: 30, test: 30}}
network:
  layers:
    - {conv: {out_channels: 4, kernel_size: 3, padding: 1}, name: first}
    - relu
    - {max_pool: 2}
    - {conv: {out_channels: 4, kernel_size: 3, padding: 1}, name: second}
    - relu
    - flatten
    - linear: 10
train: {steps: 10, batch_size: 20, optimizer: {sgd: 0.1}}
track: {mlflow: false}
""",
    "linear": """
name: linear
data: {digits: {train: 60, valid: 30, test: 30}}
network: {layers: [flatten, {linear: 10}]}
train: {steps: 10, batch_size: 20, optimizer: {sgd: 0.1}}
track: {mlflow: false}
""",
    "masks": """
name: masks
data: {shapes: {train: 20, valid: 0, test: 20, most: 1, size: 8}}
network:
  layers: [{conv: {out_channels: 4, kernel_size: 3, padding: 1}}, relu, {conv: {out_channels: 4, kernel_size: 1}}]
objective: segmentation
train: {steps: 5, batch_size: 10, optimizer: {sgd: 0.1}}
track: {mlflow: false}
""",
    "text": """
name: text
data: {text: {path: words.txt, tokens: characters, window: 16, carry: true}}
network: {layers: [{embedding: {embedding_dim: 6}}, {rnn: 5}, {linear: "${data.vocabulary}"}]}
objective: language
train: {steps: 3, batch_size: 4, optimizer: {sgd: 1e-3}}
track: {mlflow: false}
""",
    "blocks": """
name: blocks
network:
  inputs: [6]
  layers:
    - linear: 6
    - repeat: {times: 4, layers: [{residual: {layers: [{linear: 6}, relu]}}]}
""",
    "line": "name: line\nnetwork: {inputs: [1], layers: [{linear: 3}, relu, {linear: 1}]}",
    "memory": """
name: memory
network: {inputs: [12, 3], layers: [{rnn: 5}, {linear: 2}]}
""",
}
WORDS = 'he said "yes no yes" and (went) home.\nshe "did not" go\n' * 20
OPTIONS: dict[str, dict[str, object]] = {
    "activation_maximisation": {"steps": 10},
    "adversarial": {"steps": 3, "examples": 20},
    "batch_norm_noise": {"draws": 50},
    "deep_dream": {"steps": 3},
    "decision_regions": {"grid": 40},
    "distances": {"resolution": 30},
    "embedding_map": {"method": "pca"},
    "fooling": {"steps": 10},
    "forward_time": {"repeats": 3},
    "inversion": {"steps": 10, "examples": 2},
    "layer_deletion": {"shuffles": 4},
    "linear_regions": {"grid": 60},
    "probes": {"iterations": 20},
    "shattered_gradients": {"points": 101},
    "style_transfer": {"steps": 5},
}
"""Of kinds that take long with their defaults, or ask for more examples than there are, smaller ones."""
ONE_A_SEED = ("embedding_map",)
"""Kinds that draw a map for each seed, which no interval can stand for."""
TIMED = ("forward_time",)
"""Kinds whose figures are seconds, which no second call repeats."""


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> dict[str, Subject]:
    """Small specs, each before and, where it has data, after a short training; two seeds of one as two runs."""
    found: dict[str, Subject] = {}
    words = tmp_path_factory.mktemp("text") / "words.txt"
    words.write_text(WORDS)
    for name, text in SPECS.items():
        experiment = experiment_of(text.replace("words.txt", str(words)))
        found[name] = of_spec(experiment)
        if experiment.data is not None:
            runs = [one.run for one in runner.run(experiment, tmp_path_factory.mktemp(name)).results]
            found |= {f"trained {name}": of_runs(runs[:1]), f"two {name}": of_runs(runs)}
    return found


def fitting(kind: str, subjects: dict[str, Subject]) -> tuple[str, Subject, list[str]]:
    """The first of the small subjects that a kind fits, with options."""
    options = [f"{key}={json.dumps(value)}" for key, value in OPTIONS.get(kind, {}).items()]
    made = analyze.with_options(kind, options)
    if "seeds" in type(made).model_fields.keys() - made.without_effect().keys() - made.model_fields_set:
        options.append("seeds=2")
        made = analyze.with_options(kind, options)
    fits = [(name, one) for name, one in subjects.items() if not problems_of(made, one)]
    assert fits, f"{kind} fits none of the small specs of this file: add one"
    name, one = fits[0]
    return name, one, options


SHORT = [kind for kind in KINDS if not ANALYSES[kind].trains]
"""Kinds that train no variants, which would take seconds each: their own tests run those."""


@pytest.mark.parametrize("kind", SHORT)
def test_a_kind_finds_finite_figures_draws_them_and_finds_them_again(kind, subjects):
    _, subject, options = fitting(kind, subjects)
    first = analyze.analyze(analyze.with_options(kind, options), subject)
    text = json.dumps(first.as_json(), allow_nan=False)
    picture = analysis_files.content_of(first, "svg").decode()

    assert first.result.figures
    assert all(math.isfinite(value) for value in first.result.figures.values())
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in first.result.figures)
    assert [name for name in first.result.figures if not ANALYSES[kind].may_have(name)] == [], "not in `figures`"
    assert first.result.panels
    assert first.result.table[1]
    assert all(len(row) == len(first.result.table[0]) for row in first.result.table[1])
    assert picture.startswith("<svg")
    assert "NaN" not in picture
    if kind not in TIMED:
        again = analyze.analyze(analyze.with_options(kind, options), subject)
        assert json.dumps(again.as_json(), allow_nan=False) == text


@pytest.mark.parametrize("kind", [k for k in SHORT if "seeds" in ANALYSES[k].model_fields and k not in ONE_A_SEED])
def test_several_seeds_have_intervals(kind, subjects):
    name, subject, options = fitting(kind, subjects)
    if subject.trained:
        return  # one run is one seed
    found = analyze.analyze(analyze.with_options(kind, options), subject).result

    assert found.seeds == 2, name
    marks = [mark for panel in found.panels for mark in panel.marks if isinstance(mark, Lines | Bars)]
    drawn = any(mark.low is not None and mark.high is not None for mark in marks)
    assert drawn or any(name.endswith("_low") for name in found.figures), (
        "as bands, or as figures NAME_low, NAME_high"
    )
