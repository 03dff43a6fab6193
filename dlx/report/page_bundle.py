"""Vega, Vega-Lite and vega-embed as one script, from inside of vl-convert."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ..data.cache import cached_file


def bundle() -> str:
    """Return the script that defines `vegaEmbed`. It is put together once for each version, which takes seconds."""
    import vl_convert

    def write(path: Path) -> None:
        # without a snippet it defines `window.vegaEmbed`; its stub wants a text all the same
        script = vl_convert.javascript_bundle(snippet=None)  # type: ignore[arg-type]
        path.write_text(script.replace("</script", "<\\/script"), encoding="utf-8")

    return cached_file(f"charts/vega-{version('vl-convert-python')}.js", write).read_text(encoding="utf-8")
