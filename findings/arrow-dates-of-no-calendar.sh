#!/bin/sh
# Packages   pyarrow 26.0.1 (the same with 25.0.1), pandas 3.0.1 beside it
# Do         read a column of dates as a CSV, once with pyarrow's own parser, once with the same format written out in
#            `timestamp_parsers`; and parse the same texts with `compute.strptime` and with pandas
# Seen       a day that a month does not have, 2023-02-29, is refused by pyarrow's own parser (the column stays text), but with
#            `timestamp_parsers=["%Y-%m-%d"]` and in `compute.strptime` (error_is_null or not) it is 2023-03-01, and 31 April is
#            1 May; day 32 and month 13 are refused. pandas.to_datetime refuses each of them
# One would  guess that a format that is written out is at least as strict as one that is guessed
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.0.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import io

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

FORMAT = "%Y-%m-%d"
DATES = ["2023-02-29", "2023-04-31", "2023-02-32", "2023-13-01"]


def as_csv(date: str, **options) -> str:
    text = f"day\n{date}\n2023-05-02\n".encode()
    column = csv.read_csv(io.BytesIO(text), convert_options=csv.ConvertOptions(**options)).column("day")
    return str(column[0].as_py()) if pa.types.is_temporal(column.type) else "text"


def parsed(date: str) -> str:
    try:
        return str(pc.strptime(pa.array([date]), format=FORMAT, unit="s")[0].as_py())
    except pa.ArrowInvalid:
        return "refused"


def by_pandas(date: str) -> str:
    try:
        return str(pd.to_datetime(date, format=FORMAT))
    except ValueError:
        return "refused"


seen = {d: (as_csv(d), as_csv(d, timestamp_parsers=[FORMAT]), parsed(d), by_pandas(d)) for d in DATES}
seen["null"] = pc.strptime(pa.array(DATES), format=FORMAT, unit="s", error_is_null=True).null_count
for date, what in seen.items():
    print(date, what)
first, second = "2023-03-01 00:00:00", "2023-05-01 00:00:00"
assert seen == {
    "2023-02-29": ("text", first, first, "refused"),
    "2023-04-31": ("text", second, second, "refused"),
    "2023-02-32": ("text", "text", "refused", "refused"),
    "2023-13-01": ("text", "text", "refused", "refused"),
    "null": 2,
}, seen
PY
