"""Tables: CSV, parquet and Arrow files, read by column."""
