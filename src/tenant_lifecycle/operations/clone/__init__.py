"""A clone: a tenant as it was, masked on its way, looked through, and only then shown under another name."""
