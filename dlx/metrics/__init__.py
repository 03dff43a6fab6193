"""Metrics: quantities measured at each evaluation beside the loss, `metrics: [f1, auroc]` under the objective.

They are updated batch by batch on the device of the training. One file per family, found by the registry.
"""

from .base import METRICS, MONITORED_METRIC, RUNNING_LOSS, Mean, Meter, Metric, Mode, MonitoredMetric

__all__ = [
    "METRICS",
    "MONITORED_METRIC",
    "RUNNING_LOSS",
    "Mean",
    "Meter",
    "Metric",
    "Mode",
    "MonitoredMetric",
]
