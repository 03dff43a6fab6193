"""Specs as text, for tests of the graph and the network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent, indent
from typing import Any

import pytest
from pydantic import ValidationError

from dlx.data import DATASETS
from dlx.errors import ShapeError
from dlx.graph import Graph, trace
from dlx.layers import LAYERS
from dlx.objectives import Supervised
from dlx.shapes import Shape
from dlx.spec import Experiment, load

ROOT = Path(__file__).parent.parent
SPECS = sorted(p for p in (ROOT / "specs").rglob("*") if p.suffix in {".yaml", ".toml"})


def is_whole(path: Path) -> bool:
    """Whether a file under specs/ is a spec of its own and not an option of a config group."""
    return any(line.startswith(("dlx:", "dlx =")) for line in path.read_text().splitlines())


SHIPPED = {str(p.relative_to(ROOT / "specs").with_suffix("")): p for p in SPECS if is_whole(p)}
"""Every spec that dlx brings, by `folder/name`."""
SHIPPED_DATA = sorted(kind for kind, cls in DATASETS.items() if cls.__module__.startswith("dlx."))
"""Every kind of data that dlx brings; other packages may have theirs."""
SAMPLE = {
    *("digits/lenet", "cs231n/alexnet", "cs231n/resnet50", "cs231n/googlenet-aux", "cs231n/densenet121"),
    *("cs231n/mobilenet", "cs231n/squeezenet1_0", "cs231n/vgg11", "cs231n/hinge", "cs231n/fractalnet-20"),
    *("udl/mnist1d-conv", "udl/mnist1d-dense", "udl/shallow-1-3-1", "udl/residual-4", "udl/unet-padded", "udl/noh"),
    *("udl/resnet20", "udl/stochastic-depth-110", "udl/norms", "udl/activations", "udl/max-unpooling"),
    *("udl/inpainting", "udl/highway-10", "udl/squeeze-excitation", "udl/upsampling", "ihler/lenet"),
    *("ihler/residual", "nielsen/network-7", "aima/rnn-unrolled", "aima/rnn", "aima/one-hot", "aima/multitask"),
    *(
        "zoo/gpt2",
        "zoo/vit_b_16",
        "zoo/swin_t",
        "zoo/mixture-of-experts",
        "zoo/convnext_tiny",
        "zoo/shufflenet_v2_x1_0",
    ),
}


def __getattr__(name: str) -> Any:
    """Make the lists below when a test asks for one: every spec is read for them, which takes seconds.

    `ONE_NETWORK`: the shipped specs with one `network`, by `folder/name`. `TRAINED`: the names of those that train it
    on targets, and not by the phases of an objective. `WALK`: those for tests that take a while each: a sample that
    has every sort, the others with `make test-slow`.
    """
    if name not in {"ONE_NETWORK", "TRAINED", "WALK"}:
        raise AttributeError(name)
    loaded = {name: load(path) for name, path in SHIPPED.items()}
    one = {name: path for name, path in SHIPPED.items() if not loaded[name].networks}
    targets = {n for n, spec in loaded.items() if isinstance(spec.objective or Supervised, type | Supervised)}
    globals().update(
        ONE_NETWORK=one,
        TRAINED=[n for n in one if n in targets and loaded[n].train is not None],
        WALK=[pytest.param(n, marks=() if n in SAMPLE else pytest.mark.slow) for n in one],
    )
    return globals()[name]


def experiment_of(text: str, suffix: str = ".yaml") -> Experiment:
    """The spec that `text` is."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"spec{suffix}"
        path.write_text(dedent(text))
        return load(path)


def graph_of(text: str, suffix: str = ".yaml") -> Graph:
    return trace(experiment_of(text, suffix))


def network_of(inputs: str, layers: str, more: str = "", outputs: str = "") -> Graph:
    """The graph of `layers`, a YAML list, for `inputs` and `outputs` in YAML; `more` are further sections."""
    listed = indent(dedent(layers).strip("\n"), " " * 4)
    named = f"  outputs: {outputs}\n" if outputs else ""
    return graph_of(f"network:\n  inputs: {inputs}\n{named}  layers:\n{listed}\n{dedent(more)}")


def refusal(kind: str, options: dict[str, Any], inputs: Sequence[Sequence[int]]) -> tuple[str, str]:
    """Why a layer does not take inputs of these shapes, and the way out."""
    xs = [x if isinstance(x, Shape) else Shape(x) for x in inputs]
    with pytest.raises(ShapeError) as refused:
        LAYERS[kind].model_validate(options).plan(*xs)
    problem = refused.value.problem_for([str(x) for x in xs])
    return problem.message, problem.hint


def contradiction(kind: str, options: dict[str, Any]) -> str:
    """Why the fields of a layer do not go together."""
    with pytest.raises(ValidationError) as refused:
        LAYERS[kind].model_validate(options)
    return str(refused.value.errors()[0]["ctx"]["error"])


def independent_of(classes: Any) -> Any:
    """Class numbers in equal shares within each class of `classes` (n,), so that nothing is learned from them.

    A random order leaves a little by chance, and the largest logit follows it.
    """
    number = len(set(classes.tolist()))
    shuffled = classes.copy()
    for one in range(number):
        found = (classes == one).nonzero()[0]
        shuffled[found] = [i % number for i in range(len(found))]
    return shuffled


@contextmanager
def everywhere(uri):
    """For those of MLflow's functions that know only one store, which they leave in the environment."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri("")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
