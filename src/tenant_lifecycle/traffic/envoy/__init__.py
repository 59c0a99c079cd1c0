"""Envoy: routes by a watched file, and what its administration interface tells."""
