"""Proof for people who do not trust us: the audit log's tree and heads, keys, certificates and their bundles."""
