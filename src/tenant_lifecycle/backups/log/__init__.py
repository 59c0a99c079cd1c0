"""The change log of tenants in the repository: frames as bytes, sealed segments, shared flushes, coverage."""
