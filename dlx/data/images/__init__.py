"""Image files: in folders, or in parquet and Arrow files."""
