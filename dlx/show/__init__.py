"""What a person sees: the one room where rich lives."""

from .console import document, errors, out, say, warnings
from .counted import counted
from .diff import difference
from .doctor import diagnosis
from .explain import explanation
from .inspect import inspected, one_layer, summaries
from .listings import layer_page, run_as_json, run_list, synced, vocabulary
from .proof import proof, reproduction
from .receipts import verified
from .schedule import schedule
from .sweep import delivered, ending, sweeping
from .together import evaluation, predictions
from .training import progress, results, tracking
from .why import origin

__all__ = [
    "counted",
    "delivered",
    "diagnosis",
    "difference",
    "document",
    "ending",
    "errors",
    "evaluation",
    "explanation",
    "inspected",
    "layer_page",
    "one_layer",
    "origin",
    "out",
    "predictions",
    "progress",
    "proof",
    "reproduction",
    "results",
    "run_as_json",
    "run_list",
    "say",
    "schedule",
    "summaries",
    "sweeping",
    "synced",
    "tracking",
    "verified",
    "vocabulary",
    "warnings",
]
