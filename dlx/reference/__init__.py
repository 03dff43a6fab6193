"""Every kind that a spec can name, described from the classes: `dlx layers`, `docs/layers.md`."""
