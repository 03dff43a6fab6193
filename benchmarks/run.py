"""Run the benchmarks one after the other, each as a process of its own; one that fails stops none of the others.

    python benchmarks/run.py                       # all that need no data
    python benchmarks/run.py --only start steps    # some
    python benchmarks/run.py --list                # what there is

Every script of this folder that can be run is in, as it is without arguments. Those that want a folder of data are
left out, with a line that says how to run them.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import time

from common import HERE

WANT_DATA = {
    "ladder": "a folder with MNIST's t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz: `... DIR`",
    "training": "CIFAR-10 as cifar10-train.parquet and cifar10-test.parquet: `... DIR`, or `... --only mnist1d`",
}
"""What is left out: what it wants, and what to add to its command."""


def found() -> dict[str, str]:
    """The scripts by name, each with the first line of its docstring."""
    texts = {path.stem: path.read_text() for path in sorted(HERE.glob("*.py")) if path.stem != "run"}
    runnable = {name: text for name, text in texts.items() if 'if __name__ == "__main__":' in text}
    return {name: (ast.get_docstring(ast.parse(text)) or "").splitlines()[0] for name, text in runnable.items()}


def command(name: str) -> list[str]:
    return [sys.executable, str(HERE / f"{name}.py")]


def succeeded(name: str) -> bool:
    """Run one, its output as it comes."""
    print(f"== {name}", flush=True)
    started = time.perf_counter()
    code = subprocess.run(command(name), check=False).returncode
    ended = "done" if code == 0 else f"failed with {code}"
    print(f"== {name}: {ended}, {time.perf_counter() - started:.0f} s\n", flush=True)
    return code == 0


def main() -> None:
    """Run what was asked for, and end with an error that names those that failed."""
    scripts = found()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=scripts, default=list(scripts), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(f"{name:<12}{about}" for name, about in scripts.items()))
        return
    for name in (n for n in asked.only if n in WANT_DATA):
        print(f"{name} is left out: it wants {WANT_DATA[name].replace('...', f'python benchmarks/{name}.py')}")
    failed = [name for name in asked.only if name not in WANT_DATA and not succeeded(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
