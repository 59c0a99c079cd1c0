"""The shape of a tenant's tables: compare it on two sides, create what is missing, notice when it changes."""

from tenant_lifecycle.stores.postgres.schema.compare import compare
from tenant_lifecycle.stores.postgres.schema.create import create_missing
from tenant_lifecycle.stores.postgres.schema.references import validate_references
from tenant_lifecycle.stores.postgres.schema.shape import shape

__all__ = ["compare", "create_missing", "shape", "validate_references"]
