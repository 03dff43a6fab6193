"""Process of the mirror: `python -m dlx.track RUN_DIR ... [--uri URI] [--experiment NAME] [--follow PID]`."""

import sys

from ..utils import imports
from .mirror import main
from .scalars import ScalarFiles
from .sync import RunDelivery

if __name__ == "__main__":
    imports.own_process()
    sys.exit(main(RunDelivery, "dlx.track", ScalarFiles))
