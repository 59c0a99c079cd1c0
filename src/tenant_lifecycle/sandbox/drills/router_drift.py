"""Drill: the load balancer goes back to an old configuration, and a rollback would send people the wrong way."""

from __future__ import annotations

import shutil
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.traffic_check import check_traffic
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import TENANT, Say
from tenant_lifecycle.sandbox.envoy import EnvoyServer
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.traffic.base import Route, Router
from tenant_lifecycle.traffic.drift import CheckRules
from tenant_lifecycle.traffic.tenant_header import SESSION_HEADER, TENANT_HEADER, encode_tenant

_REQUESTS = 300


def run(say: Say) -> DrillReport:
    """A deployment puts an old routes file back behind our back, while green is the writer."""
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-drill-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting Envoy and two applications ...")
        with (
            NamedApplications(["blue", "green"]) as applications,
            EnvoyServer(folder / "envoy", applications.places, default="blue") as envoy,
        ):
            router = envoy.router()
            try:
                return _play(envoy, router, folder, say)
            finally:
                router.close()


def _play(envoy: EnvoyServer, router: Router, folder: Path, say: Say) -> DrillReport:
    router.set_route(Route(TENANT, "blue", {"blue": 100}))
    old = shutil.copy(envoy.routes, folder / "routes-of-last-week.json")
    router.set_route(Route(TENANT, "green", {"green": 100}))
    right = _ask(envoy)
    say("green serves everything; now last week's routes file is put back by somebody else")
    began = time.monotonic()
    new = envoy.routes.with_suffix(".deploy")
    shutil.copy(old, new)
    new.replace(envoy.routes)
    _until(lambda: router.actual(TENANT) != router.intended(TENANT), "the router to take the old file")
    found = _drift(router, CheckRules(window_s=0))
    detected = time.monotonic() - began
    wrong = _ask(envoy)
    say(f"found: {found[0].message if found else 'nothing'}")
    intended = router.intended(TENANT)
    assert intended is not None
    router.set_route(intended)
    mended = _ask(envoy)
    return DrillReport(
        name="router-drift",
        broke="an old routes file of Envoy was put back while green is the writer",
        detected="; ".join(f"{finding.code}: {finding.message}" for finding in found),
        detect_s=detected,
        by_itself=(
            f"kept what was asked for apart from the router's own file; {wrong['blue']} of {_REQUESTS} requests "
            "had gone to blue meanwhile",
            "put the route into effect again when told to",
        ),
        left_to_a_person=("tenantctl traffic set, and find out which deployment writes that file",),
        promises={
            "before, every request went to green": right == Counter(green=_REQUESTS),
            "the drift was real": wrong["blue"] > 0,
            "afterwards every request goes to green": mended == Counter(green=_REQUESTS),
            "and the check finds nothing more": not _drift(router, CheckRules(window_s=0)),
        },
    )


def _drift(router: Router, rules: CheckRules) -> list[Finding]:
    return [
        f
        for checked in check_traffic([router], [TenantId(TENANT)], rules)
        for f in refusals(checked.findings)
    ]


def _ask(envoy: EnvoyServer) -> Counter[str]:
    """Who answers, over many sessions."""
    answers: Counter[str] = Counter()
    for number in range(_REQUESTS):
        headers = {TENANT_HEADER: encode_tenant(TENANT), SESSION_HEADER: f"session {number}"}
        with urllib.request.urlopen(
            urllib.request.Request(envoy.address, headers=headers), timeout=10
        ) as answer:
            answers[answer.read().decode().strip()] += 1
    return answers


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise LifecycleError(f"the drill waited 20 s for {what}")
        time.sleep(0.02)
