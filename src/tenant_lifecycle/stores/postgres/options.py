"""Settings of a PostgreSQL store beside its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.stores.postgres.backup.hooks import Hook, read_hook
from tenant_lifecycle.stores.postgres.settle import Physical


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are erased, searched, backed up and restored here."""

    physical: Physical = Physical.VACUUM
    #: Days for which archived WAL (and with it what was deleted) is kept; None: not said.
    wal_archive_days: int | None = None
    #: A query for the version that the application's migrations have reached; None: Alembic's, if it is there.
    migration_version: str | None = None
    #: How a restored tenant is brought to the live tables' schema.
    migrations: Hook | None = None


def read_options(store: str, settings: Mapping[str, str]) -> Options:
    """Options from a store's settings.

    Raises:
        ConfigError: a value is none of those that are known.
    """
    physical = settings.get("physical", Physical.VACUUM.value)
    if physical not in list(Physical):
        raise ConfigError(
            f"store {store}: physical is {physical!r}",
            next_step=f"known: {', '.join(one.value for one in Physical)}",
        )
    days = settings.get("wal_archive_days")
    if days is not None and not (days.isascii() and days.isdecimal() and int(days) > 0):
        raise ConfigError(
            f"store {store}: wal_archive_days is {days!r}",
            next_step="write a whole number of days, at least 1",
        )
    return Options(
        physical=Physical(physical),
        wal_archive_days=int(days) if days else None,
        migration_version=settings.get("migration_version"),
        migrations=read_hook(store, settings.get("migrations")),
    )
