"""The control database: journal, leases, tenants (SQLAlchemy 2 Core, Alembic)."""
