"""Series of values along time, from CSV or parquet files, as windows of the past and horizons of the future."""
