"""Health by Prometheus: one instant query per number, with tenant and environment as label values.

A tenant's id is a hostile string. It is put in only where a label is compared for equality with a quoted
string, escaped as PromQL wants it; `Template` refuses a query that would have it anywhere else.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.health import known
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health
from tenant_lifecycle.traffic.health.http_get import NoAnswer, send

#: The numbers a source can be asked for; percentiles are seconds there, as is the custom.
NUMBERS = ("requests", "errors", "p99_seconds", "business")
_PLACE = re.compile(r"\$(tenant|environment|window)\b")
#: What must stand around a label's value.
_EQUALS = re.compile(r"!?=\s*\"$")


@dataclass(frozen=True, slots=True)
class Template:
    """A query with ``$tenant``, ``$environment`` and ``$window`` in it.

    Raises:
        ValueError: a label's value would stand outside of ``label="..."``.
    """

    text: str

    def __post_init__(self) -> None:
        for place in _PLACE.finditer(self.text):
            if place[1] == "window":
                continue
            before, after = self.text[: place.start()], self.text[place.end() :]
            if not _EQUALS.search(before) or not after.startswith('"'):
                raise ValueError(f'${place[1]} must stand alone in quotes after =, as in label="${place[1]}"')

    def filled(self, tenant: TenantId, environment: str, window_s: float) -> str:
        """The query; a window is at least one millisecond."""
        values = {
            "tenant": label_value(tenant),
            "environment": label_value(environment),
            "window": f"{max(1, math.ceil(window_s * 1000))}ms",
        }
        return _PLACE.sub(lambda place: values[place[1]], self.text)


def label_value(text: str) -> str:
    """The text as it stands between double quotes in PromQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")


@dataclass
class PrometheusHealth:
    """One Prometheus, or anything that speaks its query API. Safe to use from several threads."""

    name: str
    #: Its address without ``/api``.
    url: str = field(repr=False)
    #: By number, any of `NUMBERS`.
    queries: Mapping[str, Template]
    #: Sent as a bearer token.
    token: str = field(default="", repr=False)
    timeout_s: float = 2.0

    @property
    def knows(self) -> frozenset[str]:
        """Fields of `Health` that there is a query for."""
        return frozenset("p99_ms" if number == "p99_seconds" else number for number in self.queries)

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        """Ask every query; see `base.HealthSource.health`."""
        found = {
            number: self._ask(number, template.filled(tenant, environment, window_s))
            for number, template in self.queries.items()
        }
        seconds = found.get("p99_seconds")
        return Health(
            # increase() extrapolates, so that counts come out as fractions.
            requests=round(found.get("requests") or 0.0),
            errors=round(found.get("errors") or 0.0),
            p99_ms=None if seconds is None else seconds * 1e3,
            business=found.get("business"),
        )

    def close(self) -> None:
        """Nothing is kept open."""

    def _ask(self, number: str, query: str) -> float | None:
        """The one number that the query gives; None if it gives none, or none that is a number."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = urllib.parse.urlencode({"query": query, "timeout": f"{self.timeout_s:g}s"}).encode()
        try:
            answer = send(f"{self.url.rstrip('/')}/api/v1/query", self.timeout_s, body=body, headers=headers)
        except NoAnswer as exc:
            raise StoreUnavailable(f"{self.name}: no answer: {exc}", store=self.name) from exc
        if answer.status >= 500 or answer.status in (408, 429):
            raise StoreUnavailable(f"{self.name}: it answers {answer.status}", store=self.name)
        try:
            document = json.loads(answer.body)
            if answer.status != 200 or document["status"] != "success":
                raise self._rejected(
                    number, f"it answers {answer.status}: {document.get('errorType', 'error')}"
                )
            return _number(document["data"])
        except (ValueError, KeyError, TypeError, IndexError) as exc:
            raise self._rejected(number, f"its answer is not what was expected ({answer.status})") from exc
        except _Several as exc:
            raise self._rejected(number, f"it gives {exc} series; sum() makes one of them") from exc

    def _rejected(self, number: str, why: str) -> StoreRejected:
        return StoreRejected(
            f"{self.name}: the query of {number!r}: {why}",
            store=self.name,
            next_step=f"correct health.{self.name}.queries.{number} in lifecycle.yaml",
        )


class _Several(Exception):
    """More than one series; the text is how many."""


def _number(data: Any) -> float | None:
    if data["resultType"] == "scalar":
        return known(float(data["result"][1]))
    series = data["result"]
    if len(series) > 1:
        raise _Several(str(len(series)))
    return known(float(series[0]["value"][1])) if series else None
