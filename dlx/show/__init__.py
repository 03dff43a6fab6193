"""What a person sees: the one room where rich lives."""

from .console import document, errors, out, say, warnings
from .counted import counted
from .diff import difference
from .explain import explanation
from .inspect import one_layer, summary
from .listings import layer_page, run_as_json, run_list, synced, vocabulary
from .receipts import verified
from .training import progress, results, tracking
from .why import origin

__all__ = [
    "counted",
    "difference",
    "document",
    "errors",
    "explanation",
    "layer_page",
    "one_layer",
    "origin",
    "out",
    "progress",
    "results",
    "run_as_json",
    "run_list",
    "say",
    "summary",
    "synced",
    "tracking",
    "verified",
    "vocabulary",
    "warnings",
]
