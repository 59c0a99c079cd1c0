"""Places that hold tenants' data: the contracts in base.py, one folder per system."""
