"""Sources of health numbers that stand beside the routers: Prometheus, a probe of our own, a query."""
