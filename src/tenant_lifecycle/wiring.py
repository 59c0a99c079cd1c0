"""Settings in, services out; the only place that puts things together."""
