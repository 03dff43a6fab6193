"""YAML 1.2 and TOML, read to nodes that know their line and column, and written."""
