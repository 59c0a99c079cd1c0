"""Checks a deletion certificate offline, with the keys of whoever checks it. Knows nothing of its issuer's code."""
