"""S3 and compatible object stores: prefixes and keys of a tenant in one bucket."""
