"""ClickHouse: analytics in columns, over its HTTP interface."""
