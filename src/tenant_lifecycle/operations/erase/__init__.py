"""Erasing a tenant: from an approved plan to outcomes that are computed from evidence."""
