"""Frozen values and pure decisions; standard library and pydantic only."""
