"""How far off `dlx inspect --time` is: ten specs of the zoo, each forecast and then trained, whole processes.

    python benchmarks/forecast.py [--only NAME] [--most SECONDS]

By the clock, so that it wants an idle machine: what else runs between a forecast and its training counts as an error.
`whole command` compares `time.seconds` with the seconds of `dlx train` as a process, `from its first steps` the
forecast that the run itself has made with what the run took (`time.json`). What comes after the time is spent is
passed over.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ROOT, publish

SPECS = {
    "vit-digits": "attention",
    "unet-shapes": "convolutions, a class for each position",
    "scenes": "boxes",
    "char-lstm": "states that go on from window to window",
    "gpt": "a language model that writes at stages",
    "vae": "two networks, evaluated three times",
    "dcgan": "two phases",
    "diffusion": "drawn noise",
    "autoencoder": "two networks, no evaluation on the way",
    "transfer-digits": "stages, eight seeds side by side",
}
WITHIN = 0.2
DLX = [sys.executable, "-m", "dlx"]
QUIET = ["--json", "track.mlflow=false"]


def document(command: list[str]) -> tuple[dict[str, Any], float]:
    """Return what a command says in JSON, and its seconds. A claim that fails is no error here."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if not done.stdout.startswith("{"):
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout), seconds


def measured(name: str, runs: Path) -> dict[str, float | None]:
    """Return the forecast of a spec, what it took, and the same from the run's own first steps."""
    spec = f"zoo/{name}"
    forecast, _ = document([*DLX, "inspect", spec, "--time", *QUIET])
    trained, seconds = document([*DLX, "train", spec, "--runs", str(runs), *QUIET])
    own = None
    kept = Path(trained["dir"]) / "time.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        if "forecast" in found and "fact" in found:
            own = found["forecast"]["seconds"] / found["fact"]["seconds"] - 1
    told = forecast["time"]["seconds"]
    return {"forecast": told, "fact": seconds, "off": told / seconds - 1, "own": own}


def main() -> None:
    """One spec after the other, until the time is spent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=float, default=240.0)
    asked = parser.parse_args()
    load, began = os.getloadavg()[0], time.monotonic()
    rows = ["| spec | what | whole command | from its first steps |", "|---|---|---|---|"]
    offs: list[float] = []
    passed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dlx-forecast-") as runs:
        for name, what in SPECS.items():
            if asked.only not in name:
                continue
            if time.monotonic() - began > asked.most:
                passed.append(name)
                continue
            found = measured(name, Path(runs))
            assert found["off"] is not None
            offs.append(found["off"])
            own = "over before" if found["own"] is None else f"{found['own']:+.1%}"
            rows.append(f"| {name} | {what} | {found['off']:+.1%} | {own} |")
            sys.stderr.write(f"{rows[-1]} {found['forecast']:.1f} {found['fact']:.1f}\n")
    near = sum(abs(one) <= WITHIN for one in offs)
    said = [
        f"{near} of {len(offs)} within {WITHIN:.0%}; median of the sizes {statistics.median(map(abs, offs)):.1%}.",
        f"Load of the machine at the start: {load:.1f} on {len(os.sched_getaffinity(0))} cores.",
    ]
    said += [f"Passed over, for the time was spent: {', '.join(passed)}."] if passed else []
    publish("forecast", "How far off forecasts of the time of a training are", ["\n".join(rows), *said])


if __name__ == "__main__":
    main()
