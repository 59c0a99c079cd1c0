"""A set of keys answers the same in memory and on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tenant_lifecycle.stores.postgres.feed.keyset import KeyFile, KeySet


def key(number: int) -> bytes:
    return b"\0\1\0\0\0\4" + number.to_bytes(4, "big")


@pytest.mark.parametrize("in_memory", [0, 10, 10_000])
@pytest.mark.parametrize("same", [True, False])
def test_it_knows_exactly_the_values_of_the_rows_it_holds(tmp_path: Path, same: bool, in_memory: int) -> None:
    file = KeyFile(tmp_path / "keys")
    keys = KeySet(file, same=same, in_memory=in_memory)
    model: dict[bytes, bytes] = {}
    rng = random.Random(3)
    for _ in range(3000):
        row = key(rng.randrange(60))
        value = row[2:] if same else b"\0\0\0\1" + bytes([rng.randrange(20)])
        if rng.random() < 0.6:
            assert keys.add(row, value) == (model.get(row) != value)
            model[row] = value
        else:
            assert keys.remove(row) == (row in model)
            model.pop(row, None)
        probe = rng.choice([value, key(rng.randrange(60))[2:]])
        assert keys.has(probe) == (probe in model.values())
    assert len(keys) == len(model)
    file.close()
    assert not (tmp_path / "keys").exists()
