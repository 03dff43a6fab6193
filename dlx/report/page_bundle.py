"""Vega, Vega-Lite and vega-embed as one script, from inside of vl-convert."""

from __future__ import annotations

from pathlib import Path

from ..data.cache import cached_file


def bundle() -> str:
    """Return the script that defines `vegaEmbed`. It is put together once for each version, which takes seconds."""
    import vl_convert

    def write(path: Path) -> None:
        path.write_text(vl_convert.javascript_bundle().replace("</script", "<\\/script"), encoding="utf-8")

    return cached_file(f"charts/vega-{vl_convert.__version__}.js", write).read_text(encoding="utf-8")
