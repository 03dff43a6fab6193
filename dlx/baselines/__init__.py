"""Baselines: estimators of scikit-learn that `dlx baseline` fits to the data of a spec, one file a kind.

scikit-learn is imported when one is built.
"""

from .base import BASELINES, Baseline, Learns

__all__ = ["BASELINES", "Baseline", "Learns"]
