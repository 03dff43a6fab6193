"""MLflow as a mirror of the run folder: what stands there and has not arrived is delivered, now or later.

`start` sets a process of its own to it (`python -m dlx.track`), which training never waits for; `sync` is what that
process calls, and `dlx runs sync` as well. `mlflow.json` in the run folder remembers how far they are.
"""

from .delivery import SyncResult
from .mirror import Mirror, start, start_all
from .store import tracking_uri
from .sync import sync

__all__ = ["Mirror", "SyncResult", "start", "start_all", "sync", "tracking_uri"]
