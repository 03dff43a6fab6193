"""Process of one worker: `python -m dlx.sweeps.workers.process PACK`, which `processes` starts and talks to."""

import sys

from .processes import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
