"""Redis 6.2+ and Valkey as a store: key families of a tenant, copied, followed by the journal, compared."""
