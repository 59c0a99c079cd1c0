"""The repository: one tenant's bases and change log, encrypted, in write-once objects."""
