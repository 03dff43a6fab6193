#!/bin/sh
# Packages   vl-convert-python 1.9.0.post1 (Vega-Lite 6.4), no browser
# Do         draw a line through three losses that are all 0.5, and through three that are all 0.26, with `scale: {zero: false}`,
#            as SVG, and read the labels of the vertical axis
# Seen       one label: `1` for the losses of 0.5, `0` for those of 0.26. The axis tells a value that no point has, and
#            the line lies beside that label. With two losses that differ by 0.002 the labels are exact
# One would  guess a label at the value itself, or none
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check vl-convert-python==1.9.0.post1
"$folder/venv/bin/python" - <<'PY'
import re

import vl_convert


def labels(losses: list[float]) -> list[str]:
    svg = vl_convert.vegalite_to_svg(
        {
            "data": {"values": [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses, 1)]},
            "mark": "line",
            "encoding": {
                "x": {"field": "epoch", "type": "quantitative"},
                "y": {"field": "loss", "type": "quantitative", "scale": {"zero": False}},
            },
        }
    )
    axis = re.search(r'aria-label="Y-axis[^"]*".*?(?=aria-label="(?!Y-axis))', svg, re.S).group(0)
    title = re.findall(r">([^<>]+)</text>", axis)
    return [text for text in title if text != "loss"]


for losses in ([0.5] * 3, [0.26] * 3, [0.5, 0.501, 0.502]):
    print(losses, labels(losses))
assert labels([0.5] * 3) == ["1"]
assert labels([0.26] * 3) == ["0"]
assert labels([0.5, 0.501, 0.502])[0] == "0.5000"
PY
