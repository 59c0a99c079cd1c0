"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `upgrade` opened."""

from __future__ import annotations

from alembic import context

from tenant_lifecycle.catalog import backup_tables as backup_tables
from tenant_lifecycle.catalog import erasure_tables as erasure_tables
from tenant_lifecycle.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
