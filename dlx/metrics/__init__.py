"""What is measured beside the loss, where a spec asks for it: `metrics: [f1, auroc]` under the objective.

All of it happens at evaluation, batch by batch on the device. One file a family, found by the registry.
"""

from .base import FOLLOWED, METRICS, RUNNING_LOSS, Followed, Mean, Meter, Metric, Mode

__all__ = [
    "FOLLOWED",
    "METRICS",
    "RUNNING_LOSS",
    "Followed",
    "Mean",
    "Meter",
    "Metric",
    "Mode",
]
