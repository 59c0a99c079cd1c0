"""Durable operations: journal, lease, driver, runner. Knows nothing about tenants' data or stores."""
