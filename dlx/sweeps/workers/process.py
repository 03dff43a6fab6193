"""`python -m dlx.sweeps.workers.process PACK`: one worker, which `processes` starts and speaks to."""

import sys

from .processes import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
