"""Files: Parquet, JSON, CSV and text in a directory or bucket, by a manifest."""
