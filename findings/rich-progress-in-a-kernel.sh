#!/bin/sh
# Packages   rich 15.0.0, ipykernel 7.4.0, jupyter_client 8.10.0, without ipywidgets
# Do         run a cell with `rich.progress.Progress` over five steps of 0.3 s, and read what the kernel publishes
# Seen       two messages in all: a warning to install ipywidgets, as a display and not as a Python warning, and after the last
#            step the finished bar. Nothing is published in between, and no display is updated
# One would  guess that a bar moves in a notebook as it does on a terminal, by updates of one display
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0 ipykernel==7.4.0 jupyter_client==8.10.0
"$folder/venv/bin/python" - <<'PY' 2>"$folder/stderr"
import queue

from jupyter_client.manager import start_new_kernel

CELL = """
import time
from rich.progress import Progress
with Progress() as progress:
    task = progress.add_task("steps", total=5)
    for _ in range(5):
        time.sleep(0.3)
        progress.advance(task)
"""
manager, client = start_new_kernel(kernel_name="python3")
asked = client.execute(CELL)
seen = []
while True:
    message = client.get_iopub_msg(timeout=60)
    if message["parent_header"].get("msg_id") != asked:
        continue
    kind, content = message["msg_type"], message["content"]
    if kind == "status" and content["execution_state"] == "idle":
        break
    if kind not in ("status", "execute_input"):
        seen.append((kind, content))
client.stop_channels()
manager.shutdown_kernel(now=True)
for kind, content in seen:
    print(kind, sorted(content.get("data", {})), str(content.get("data", content))[:90].replace("\n", " "))
assert [kind for kind, _ in seen] == ["display_data", "display_data"], seen
assert "ipywidgets" in str(seen[0][1]["data"]) and "steps" not in str(seen[0][1]["data"])
assert "100%" in str(seen[1][1]["data"])
PY
