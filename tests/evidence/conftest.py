"""An office that issues certificates, over a control database that was migrated once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from issuing import Office

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated and empty control database."""
    path = tmp_path_factory.mktemp("migrated") / "control.db"
    db = ControlDatabase(path)
    upgrade(db)
    db.close()
    return path


@pytest.fixture
def new_log_database(migrated: Path, tmp_path: Path) -> Iterator[Callable[[], ControlDatabase]]:
    """Makes control databases of their own; closed afterwards."""
    made: list[ControlDatabase] = []

    def make() -> ControlDatabase:
        path = tmp_path / f"control{len(made)}.db"
        shutil.copy(migrated, path)
        made.append(ControlDatabase(path))
        return made[-1]

    yield make
    for db in made:
        db.close()


@pytest.fixture
def office(new_log_database: Callable[[], ControlDatabase], tmp_path: Path) -> Office:
    return Office(new_log_database(), tmp_path, int(time.time()))
