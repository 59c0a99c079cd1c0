"""A log service with a tenant's streams, a group of its own and a stream that tenants share."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import boto3

from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.cloudwatch.store import CloudWatchStore

US, THEM = "1", "12"
RULES = KeyMap(
    {
        "streams": Family(Template.parse("/app/web:tenant-{tenant}/*")),
        "groups": Family(Template.parse("/tenant/{tenant}:*")),
    },
    (Template.parse("/aws/*"),),
    {
        "lines": Shared(
            Template.parse("/app/web:shared*"), ("tenant_id",), personal=(("text",), ("user", "mail"))
        ),
        "text": Shared(Template.parse("/app/text:*"), owner=Template.parse("tenant={tenant} *")),
    },
)


class LogService:
    """One store, and what an application sees."""

    def __init__(self, endpoint: str, settings: Mapping[str, str]) -> None:
        self.ids: dict[str, TenantIds] = {}
        self.endpoint = endpoint
        self.logs: Any = boto3.client(
            "logs", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id="app", aws_secret_access_key="app",
        )  # fmt: skip
        self.store = self.open(**settings)

    def open(self, **settings: str) -> CloudWatchStore:
        reach = {"endpoint": self.endpoint, "access_key": "ours", "secret_key": "very-secret"}
        return CloudWatchStore.from_config(
            name="logs", environment="blue", settings={**reach, **settings},
            ownership=OwnershipMap(keys={"logs": RULES}), ids=lambda tenant: self.ids.get(tenant, TenantIds()),
        )  # fmt: skip

    def empty(self) -> None:
        for one in self.logs.describe_log_groups()["logGroups"]:
            self.logs.delete_log_group(logGroupName=one["logGroupName"])
        # The emulator keeps the filters of groups that are gone.
        for one in self.logs.describe_metric_filters()["metricFilters"]:
            self.logs.delete_metric_filter(logGroupName=one["logGroupName"], filterName=one["filterName"])

    def write(self, group: str, stream: str, *messages: str, ago_s: float = 60) -> None:
        """Lines one second apart."""
        if not any(one["logGroupName"] == group for one in self.logs.describe_log_groups()["logGroups"]):
            self.logs.create_log_group(logGroupName=group)
        if stream not in self.streams(group):
            self.logs.create_log_stream(logGroupName=group, logStreamName=stream)
        start = int((time.time() - ago_s) * 1000)
        events = [{"timestamp": start + 10 * number, "message": one} for number, one in enumerate(messages)]
        self.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def streams(self, group: str) -> list[str]:
        return [
            one["logStreamName"] for one in self.logs.describe_log_streams(logGroupName=group)["logStreams"]
        ]

    def read(self, group: str, stream: str) -> list[str]:
        page = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
        return [one["message"] for one in page["events"]]

    def lines(self) -> list[tuple[str, str, int, str]]:
        """Everything there is: group, original stream, time, text; our own last lines left out."""
        return sorted(
            (group["logGroupName"], stream.partition("~tl-")[0], one["timestamp"], one["message"])
            for group in self.logs.describe_log_groups()["logGroups"]
            for stream in self.streams(group["logGroupName"])
            for one in self.logs.get_log_events(
                logGroupName=group["logGroupName"], logStreamName=stream, startFromHead=True
            )["events"]
            if "tenant_lifecycle_rewritten" not in one["message"]
        )

    def fill(self, tenant: str, secret: str, *, streams: bool = True) -> None:
        """Every kind of place."""
        if streams:
            self.write("/app/web", f"tenant-{tenant}/2026", f"hello {secret}")
            self.write(f"/tenant/{tenant}", "any", f"group {secret}")
        line = {
            "tenant_id": tenant,
            "text": secret,
            "user": {"mail": f"{secret}@x"},
            "n": 12,
            "path": f"/t/{tenant}/x",
        }
        self.write("/app/web", "shared-a", *(json.dumps({**line, "i": i}) for i in range(5)))
        self.write("/app/text", "plain", f"tenant={tenant} did something")
