"""The command tenantctl: parse, call one operation, show the result."""
