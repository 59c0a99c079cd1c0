"""S3 keeps what every store promises that is backed up and restored to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from s3_pair import KEYS, MakePair, Pair
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.testing import backing_contract
from tenant_lifecycle.testing.backing_contract import BackingContract

_PROMOTER = """
import sys
sys.path.insert(0, sys.argv[1])
from s3_pair import make_pair_of
from tenant_lifecycle.stores.backing import Writing
endpoint, bucket, name, preview, tenant, token = sys.argv[2:]
store = make_pair_of((endpoint, endpoint), (bucket, bucket)).source
store.open_preview(tenant, preview, {}, {}).promote(Writing(name, tenant, int(token)), None, lambda: None)
"""


class ObjectBench:
    atomic = False

    def __init__(self, pair: Pair) -> None:
        self.store: Any = pair.source
        self._pair = pair

    def put(self, tenant: str, item: str, content: str) -> None:
        self._pair.put(f"documents/{tenant}/{item}", content.encode())

    def drop(self, tenant: str, item: str) -> None:
        self._pair.delete(f"documents/{tenant}/{item}")

    def content(self, tenant: str, item: str) -> str | None:
        try:
            found = self._pair.blue.get_object(Bucket=self._pair.names[0], Key=f"documents/{tenant}/{item}")
        except self._pair.blue.exceptions.NoSuchKey:
            return None
        return str(found["Body"].read().decode())

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        tests, endpoint = Path(__file__).parent.parent, self._pair.source.area.bucket.settings.endpoint or ""
        arguments = (endpoint, self._pair.names[0], writing.name, preview, writing.tenant, str(writing.token))
        return [sys.executable, "-c", _PROMOTER, str(tests), *arguments]

    def many(self, tenant: str, count: int) -> None:
        """A fortieth: each object costs the emulator several requests."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: self.put(tenant, f"m{40 * n}", str(n)), range(count // 40)))


class TestS3(BackingContract):
    @pytest.fixture
    def bench(self, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(backing_contract, "KILLS", 1)
        return ObjectBench(make_pair(versioned=(True, False), keys=KEYS))
