"""Mirror runs and studies to MLflow: deliver what their folders hold and MLflow does not, now or later.

`start` launches a process of its own for it (`python -m dlx.track`), which training never waits for; `sync` is what
that process calls, and `dlx runs sync` as well. `mlflow.json` in the run folder records how much has arrived.
"""

from .delivery import SyncResult
from .mirror import FILES_TIMEOUT, Mirror, begin, check_environment, start, start_all
from .scalars import check, scalar_files
from .store import tracking_uri
from .sync import sync

__all__ = [
    "FILES_TIMEOUT",
    "Mirror",
    "SyncResult",
    "begin",
    "check",
    "check_environment",
    "scalar_files",
    "start",
    "start_all",
    "sync",
    "tracking_uri",
]
