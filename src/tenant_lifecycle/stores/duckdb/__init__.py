"""DuckDB: a database file, or a folder of Parquet files."""
