"""Baselines that `dlx baseline` fits to the data of a spec, one file a kind: of scikit-learn, rules, counts.

scikit-learn is imported when one is built.
"""

from .base import BASELINES, Baseline, Learns

__all__ = ["BASELINES", "Baseline", "Learns"]
