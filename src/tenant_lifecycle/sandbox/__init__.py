"""Embedded servers, the sample schema, and the load generator with its ledger."""
