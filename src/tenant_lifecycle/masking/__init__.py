"""Masking: classes, transformers, free text, and the gate that finds what leaked."""
