"""Elasticsearch and OpenSearch as a store of tenant-lifecycle: erased, and searched for what was forgotten."""
