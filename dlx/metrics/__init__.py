"""What is measured beside the loss, where a spec asks for it: `metrics: [f1, auroc]` under the objective.

All of it happens at evaluation, batch by batch on the device. One file a family, found by the registry.
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
