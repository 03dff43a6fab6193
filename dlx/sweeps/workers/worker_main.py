"""Process of one worker: `python -m dlx.sweeps.workers.worker_main PACK`, which `processes` starts and talks to."""

import sys

from .process_pool import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
