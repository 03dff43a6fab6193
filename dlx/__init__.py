"""dlx: deep-learning experiments from one text file.

    import dlx
    run = dlx.train("specs/digits/lenet.yaml", ["train.epochs=2"])
    run.metrics                     # a DataFrame of the curves
    run.model                       # an nn.Module with the final weights

`docs/python.md` has all of it. Each name is imported when it is used: `import dlx` takes neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.analyses import AnalysisResult, analyze
    from .api.comparisons import BaselineTable, ComparisonTable, FoldTable, baseline, compare, crossval
    from .api.run import Run, SeedRuns
    from .api.specs import Inspection, build, inspect, load
    from .api.sweeps import StudyResult, sweep
    from .api.trained import Draws, Evaluation, Predictions, Samples, evaluate, open_run, predict, sample
    from .api.trainings import resume, train
    from .augment import Augmentation, View
    from .averages import Average
    from .baselines import Baseline
    from .data import Dataset, Facts, Preprocess, Sets, Split
    from .data.base import Field
    from .data.batch import Batch
    from .data.feed import Feed
    from .errors import DataError, DlxError, DlxWarning, RunError, ShapeError, SpecError
    from .graph import Graph, Graphs
    from .init import Initializer
    from .layers import Example, Layer, Plan
    from .losses import Loss
    from .metrics import Metric
    from .objectives import Call, Caller, Objective, Phase, Ports
    from .optim import Optimizer
    from .schedules import Schedule
    from .shapes import Shape, Window
    from .spec import Experiment
    from .spec.analyses import Analysis
    from .spec.strategies import Sampler, Scheduler

__version__ = "0.1.0"

_MODULES = {
    "api.analyses": ("AnalysisResult", "analyze"),
    "api.comparisons": ("BaselineTable", "ComparisonTable", "FoldTable", "baseline", "compare", "crossval"),
    "api.run": ("Run", "SeedRuns"),
    "api.sweeps": ("StudyResult", "sweep"),
    "api.specs": ("Inspection", "build", "inspect", "load"),
    "api.trainings": ("resume", "train"),
    "api.trained": ("Draws", "Evaluation", "Predictions", "Samples", "evaluate", "open_run", "predict", "sample"),
    "augment": ("Augmentation", "View"),
    "averages": ("Average",),
    "baselines": ("Baseline",),
    "data": ("Dataset", "Facts", "Preprocess", "Sets", "Split"),
    "data.base": ("Field",),
    "data.batch": ("Batch",),
    "data.feed": ("Feed",),
    "errors": ("DataError", "DlxError", "DlxWarning", "RunError", "ShapeError", "SpecError"),
    "graph": ("Graph", "Graphs"),
    "init": ("Initializer",),
    "layers": ("Example", "Layer", "Plan"),
    "losses": ("Loss",),
    "metrics": ("Metric",),
    "objectives": ("Call", "Caller", "Objective", "Phase", "Ports"),
    "optim": ("Optimizer",),
    "schedules": ("Schedule",),
    "shapes": ("Shape", "Window"),
    "spec": ("Experiment",),
    "spec.analyses": ("Analysis",),
    "spec.strategies": ("Sampler", "Scheduler"),
}
"""Where each name is imported from when it is first used; the imports above say the same to editors and mypy."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Analysis",
    "AnalysisResult",
    "Augmentation",
    "Average",
    "Baseline",
    "BaselineTable",
    "Batch",
    "Call",
    "Caller",
    "ComparisonTable",
    "DataError",
    "Dataset",
    "DlxError",
    "DlxWarning",
    "Draws",
    "Evaluation",
    "Example",
    "Experiment",
    "Facts",
    "Feed",
    "Field",
    "FoldTable",
    "Graph",
    "Graphs",
    "Initializer",
    "Inspection",
    "Layer",
    "Loss",
    "Metric",
    "Objective",
    "Optimizer",
    "Phase",
    "Plan",
    "Ports",
    "Predictions",
    "Preprocess",
    "Run",
    "RunError",
    "Sampler",
    "Samples",
    "Schedule",
    "Scheduler",
    "SeedRuns",
    "Sets",
    "Shape",
    "ShapeError",
    "SpecError",
    "Split",
    "StudyResult",
    "View",
    "Window",
    "__version__",
    "analyze",
    "baseline",
    "build",
    "compare",
    "crossval",
    "evaluate",
    "inspect",
    "load",
    "open_run",
    "predict",
    "resume",
    "sample",
    "sweep",
    "train",
]


if not TYPE_CHECKING:  # a module with `__getattr__` has every name to a type checker

    def __getattr__(name: str) -> Any:
        """Import a name when it is first used. AttributeError with the nearest names."""
        if name in _HOMES:
            from importlib import import_module

            value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
            globals()[name] = value
            return value
        hint = ""
        if not name.startswith("_"):
            from .errors import did_you_mean

            near = did_you_mean(name, _HOMES)
            hint = f". {near}" if near.startswith("Did") else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
