"""Route 53: one weighted record per environment under a name of the tenant's own.

DNS knows no sessions and no methods. A resolver is told one environment and keeps it for the records' TTL, for
everybody behind it; some keep it longer. So shares between 0 and 100 are shares of *resolvers' answers*, a
change takes at least the TTL, writes cannot be told from reads, and nothing is counted. Therefore a route is
refused unless all of it goes to the writer, except for names that serve no writes (``read_only: true``).
Zero-weight records are kept: a record that is missing would be a different thing to health checks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import LifecycleError, StoreRejected, StoreUnavailable, UsageError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Served
from tenant_lifecycle.traffic.intents import Intents
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.whole_file import WholeFile

#: What a tenant's id must be like to stand in a host name as it is; others have no name here.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SET = "tenant-lifecycle/"
_RETRYABLE = {"Throttling", "ThrottlingException", "PriorRequestNotComplete", "ServiceUnavailable"}


class Route53Router:
    """One hosted zone with a name per tenant."""

    kind = "route53"
    counts = False

    def __init__(
        self,
        name: str,
        *,
        client: Any,
        zone: str,
        record: str,
        intents: Path,
        targets: Mapping[str, str],
        ttl_s: int = 60,
        read_only: bool = False,
        timeout_s: float = 120.0,
    ) -> None:
        """``client`` is boto3's; ``record`` has ``{tenant}`` in it; ``timeout_s`` is how long the zone may take."""
        if record.count("{tenant}") != 1:
            raise UsageError(f"router {name}: record {record!r} needs {{tenant}} in it, once")
        self.name = name
        self.targets = Targets(targets)
        self._client = client
        self._zone = zone
        self._record = record.rstrip(".") + "."
        self._intents = Intents(WholeFile(intents, name))
        self._ttl_s = ttl_s
        self._read_only = read_only
        self._timeout_s = timeout_s

    def probe(self) -> list[Finding]:
        """Whether the zone can be read, and what DNS cannot do."""
        try:
            with self._translated():
                self._client.get_hosted_zone(Id=self._zone)
        except LifecycleError as error:
            code = "traffic.unreachable" if error.retryable else "traffic.refused"
            return [Finding(code, Severity.REFUSAL, str(error), error.next_step, self.name)]
        message = f"the zone answers; changes take {self._ttl_s} s or more, per resolver, and are not counted"
        return [Finding("traffic.reachable", Severity.OK, message, "", self.name)]

    def set_route(self, route: Route) -> None:
        """Have the records; returns when every server of the zone has them. Resolvers follow within the TTL.

        Raises:
            UsageError: shares that DNS cannot keep writes out of, or an id that no host name can carry.
        """
        self.targets.check(route)
        host = self._host(route.tenant)
        if not self._read_only and dict(route.share) != {route.writer: 100}:
            raise UsageError(
                f"router {self.name}: DNS cannot tell writes from reads, so all requests must go to the writer",
                next_step="shift shares in Envoy or HAProxy; read_only: true is for names that serve no writes",
            )
        self._intents.put(route.tenant, route)
        wanted = [
            self._record_set(host, environment, route.share.get(environment, 0))
            for environment in sorted(self.targets.by_environment)
        ]
        found = self._found(host)
        if sorted(found, key=_identifier) == wanted:
            return
        stale = [record for record in found if _identifier(record) not in map(_identifier, wanted)]
        self._change([("DELETE", record) for record in stale] + [("UPSERT", record) for record in wanted])

    def clear_route(self, tenant: TenantId) -> None:
        """Delete the tenant's records, so that a wildcard record, if there is one, counts."""
        self._intents.put(tenant, None)
        found = self._found(self._host(tenant))
        if found:
            self._change([("DELETE", record) for record in found])

    def routed(self) -> list[TenantId]:
        return sorted(self._intents.tenants())

    def intended(self, tenant: TenantId) -> Route | None:
        return self._intents.get(tenant)

    def written(self, tenant: TenantId) -> Route | None:
        """The same as `actual`: a zone has no other memory."""
        return self.actual(tenant)

    def actual(self, tenant: TenantId) -> Route | None:
        """What the zone says. The writer is who has everything, or, of read-only names, who was asked for."""
        weights: dict[str, int] = {}
        for record in self._found(self._host(tenant)):
            environment = self.targets.environment(record["ResourceRecords"][0]["Value"].rstrip("."))
            if environment is None or record.get("TTL") != self._ttl_s or len(record["ResourceRecords"]) != 1:
                return None
            weights[environment] = int(record["Weight"])
        intended = self._intents.get(tenant)
        all_of_it = next((name for name, weight in weights.items() if weight == 100), None)
        writer = intended.writer if self._read_only and intended is not None else all_of_it
        if writer is None or sum(weights.values()) != 100:
            return None
        return Route(tenant, writer, weights)

    def served(self, tenant: TenantId) -> Mapping[str, Served]:  # noqa: ARG002 - DNS does not count
        return {}

    def close(self) -> None:
        """Close boto3's connections."""
        self._client.close()

    def _host(self, tenant: TenantId) -> str:
        if not _LABEL.fullmatch(tenant):
            raise UsageError(
                f"router {self.name}: the tenant's id {tenant!r} cannot stand in a host name",
                next_step="only lower-case letters, digits and '-' can, at most 63; route this tenant elsewhere",
            )
        return self._record.replace("{tenant}", tenant)

    def _record_set(self, host: str, environment: str, weight: int) -> dict[str, Any]:
        return {
            "Name": host,
            "Type": "CNAME",
            "SetIdentifier": f"{_SET}{environment}",
            "Weight": weight,
            "TTL": self._ttl_s,
            "ResourceRecords": [{"Value": self.targets.target(environment)}],
        }

    def _found(self, host: str) -> list[dict[str, Any]]:
        """Our weighted records of that very name."""
        with self._translated():
            answer = self._client.list_resource_record_sets(
                HostedZoneId=self._zone, StartRecordName=host, StartRecordType="CNAME", MaxItems="100"
            )
        return [
            record
            for record in answer["ResourceRecordSets"]
            if record["Name"] == host and record["Type"] == "CNAME" and _identifier(record).startswith(_SET)
        ]

    def _change(self, changes: list[tuple[str, dict[str, Any]]]) -> None:
        """Make all changes at once, and wait until the zone has them everywhere."""
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes]}
        with self._translated():
            made = self._client.change_resource_record_sets(HostedZoneId=self._zone, ChangeBatch=batch)
            self._await(lambda: self._client.get_change(Id=made["ChangeInfo"]["Id"])["ChangeInfo"]["Status"])

    def _await(self, status: Callable[[], str]) -> None:
        end = time.monotonic() + self._timeout_s
        while status() != "INSYNC":
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"router {self.name}: the zone did not have the change everywhere in {self._timeout_s:g} s",
                    store=self.name,
                    next_step="tenantctl traffic get says when it has",
                )
            time.sleep(1)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of boto3 as ours."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", ""))
            cls = StoreUnavailable if code in _RETRYABLE else StoreRejected
            raise cls(
                f"router {self.name}: Route 53 refused: {code}",
                store=self.name,
                next_step="the zone's id, and the rights to list and change its records",
            ) from exc
        except BotoCoreError as exc:
            raise StoreUnavailable(
                f"router {self.name}: no answer from Route 53: {type(exc).__name__}",
                store=self.name,
                next_step="try again; the network, and the credentials, if it stays so",
            ) from exc


def _identifier(record: Mapping[str, Any]) -> str:
    return str(record.get("SetIdentifier", ""))


def open_client(settings: Mapping[str, str]) -> Any:
    """boto3's client for Route 53.

    Raises:
        UsageError: boto3 is not installed.
    """
    try:
        import boto3
    except ImportError as exc:
        raise UsageError("Route 53 needs boto3", next_step="pip install 'tenant-lifecycle[s3]'") from exc
    session = boto3.session.Session(profile_name=settings.get("profile"))
    return session.client(
        "route53",
        region_name=settings.get("region", "us-east-1"),
        endpoint_url=settings.get("endpoint"),
        aws_access_key_id=settings.get("access_key"),
        aws_secret_access_key=settings.get("secret_key"),
    )
