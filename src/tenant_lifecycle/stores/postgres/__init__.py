"""PostgreSQL 15 to 18: rows, pgvector, change feed, fence."""
