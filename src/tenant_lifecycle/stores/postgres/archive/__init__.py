"""The change log of one database for all tenants: one slot, and an index that knows whose every row is."""
