"""Tenants of the stores that are read by key, each with the loop that somebody would write with its SDK."""
