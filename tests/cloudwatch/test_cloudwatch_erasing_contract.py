"""CloudWatch Logs keeps what every store promises that is erased and searched; the emulator stands for the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from log_service import LogService

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.cloudwatch import doomed
from tenant_lifecycle.stores.cloudwatch.store import CloudWatchStore
from tenant_lifecycle.testing.erasing_contract import ErasingContract


class LineBench:
    """Items are lines of one stream that all tenants share; an anonymised line is nobody's item."""

    def __init__(self, service: LogService) -> None:
        self.service = service
        self.eraser, self.verifier = service.store, service.open(quiet="0")
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "no rule": lambda text: service.write("/shadow", "s", text.decode()),
            "another's line": lambda text: self._line("x", "y", text.decode()),
        }

    def put(self, tenant: str, item: str, content: str) -> None:
        self._line(tenant, item, content)

    def content(self, tenant: str, item: str) -> str | None:
        lines = [json.loads(one) for group, _, _, one in self.service.lines() if group == "/app/web"]
        mine = [one for one in lines if (one["tenant_id"], one["item"]) == (tenant, item)]
        return str(mine[0]["text"]) if mine else None

    def blinded(self) -> CloudWatchStore:
        """The emulator checks no credentials: lines are refused on our side of it."""
        store = self.service.open(quiet="0")
        ask = store.area.logs.call

        def refuse(operation: str, **parameters: object) -> Mapping[str, object]:
            if operation == "get_log_events":
                raise StoreRejected("get_log_events was refused (AccessDeniedException)", store="blue")
            return ask(operation, **parameters)

        store.area.logs.call = refuse  # type: ignore[method-assign]
        return store

    def replaced_eraser(self) -> CloudWatchStore:
        return self.service.open(quiet="0")

    def _line(self, tenant: str, item: str, text: str) -> None:
        self.service.write(
            "/app/web", "shared-a", json.dumps({"tenant_id": tenant, "item": item, "text": text})
        )


class TestCloudWatch(ErasingContract):
    @pytest.fixture
    def bench(self, new_service: Callable[..., LogService], monkeypatch: pytest.MonkeyPatch) -> LineBench:
        monkeypatch.setattr(doomed, "BATCH_LINES", 2)
        return LineBench(new_service(quiet="0"))
