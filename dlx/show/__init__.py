"""What a person sees: the one room where rich lives."""

from .console import document, errors, out, say, warnings
from .inspect import one_layer, summary
from .listings import layer_page, run_as_json, run_list, synced, vocabulary
from .training import progress, results, tracking

__all__ = [
    "document",
    "errors",
    "layer_page",
    "one_layer",
    "out",
    "progress",
    "results",
    "run_as_json",
    "run_list",
    "say",
    "summary",
    "synced",
    "tracking",
    "vocabulary",
    "warnings",
]
