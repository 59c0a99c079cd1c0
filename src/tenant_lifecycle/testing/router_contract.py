"""What every router promises, as tests: for ours, and for authors of others.

Subclass `RouterContract` in a module that pytest collects, beside a fixture ``bench`` of that module that gives a
`RouterBench`: a running router in front of `NamedApplications` called blue and green, blue for tenants without a
route. One bench serves all tests; every test has tenants of its own.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from tenant_lifecycle.errors import StoreUnavailable, UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.traffic_check import Checked, check_traffic
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.traffic.base import Route, Router, Served
from tenant_lifecycle.traffic.drift import CheckRules, bounds
from tenant_lifecycle.traffic.tenant_header import (
    SESSION_COOKIE,
    SESSION_HEADER,
    TENANT_HEADER,
    WRITE_HEADER,
    WRITE_METHODS,
    encode_tenant,
)

#: Pairs of a tenant that gets a route, and one that must not be taken for it.
LOOK_ALIKES = (
    ("1", "12"), ("12", "1"), ("a:b", "a"), ("a*b", "aXb"), ("A", "a-lower"), ("it's; --\"%s", "it"), ("a b", "a"),
    ("line\nbreak", "line"), ("zürich 租户", "zurich"), ("#comment", "comment"), ("%2A", "*"), (".*", "anybody"),
    ("[0]", "0"), ("\\", "\\\\"), ("a|blue=100", "a|"), ("x" * 300, "x" * 299), ("e\u0301", "\u00e9"),
)  # fmt: skip
#: Counts are judged as draws of their own: the tests send one request per session.
RULES = CheckRules(window_s=1, requests_per_session=1, minimum_reads=200)


class RouterBench(Protocol):
    """A running router, and ways past it."""

    router: Router
    #: Where requests go: ``http://127.0.0.1:8080``.
    address: str
    applications: NamedApplications

    def another(self) -> Router:
        """A second object for the same router, as another process would have."""

    def start(self) -> None:
        """Start the router again after `stop` or `kill`; return when it takes requests."""

    def stop(self) -> None:
        """End it properly."""

    def kill(self) -> None:
        """kill -9."""

    def tamper(self, route: Route) -> None:
        """Have the running router act on another route without the product's knowledge."""

    def files(self) -> bytes:
        """What the router reads when it starts."""


class Client:
    """Sends requests to a router over one connection; an answer is the environment's name."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def ask(
        self,
        tenant: str,
        session: str | None = None,
        *,
        method: str = "GET",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The environment that answered, or ``status`` and number if it was no 200."""
        sent = {TENANT_HEADER: encode_tenant(TenantId(tenant)), **(headers or {})}
        if session is not None:
            sent[SESSION_HEADER] = session
        body = b"{}" if method in WRITE_METHODS else None
        self._connection.request(method, path, body=body, headers=sent)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else f"status {answer.status}"

    def close(self) -> None:
        self._connection.close()


def route(tenant: str, green: int, writer: str = "blue") -> Route:
    """A route with this percentage for green."""
    return Route(TenantId(tenant), writer, {"blue": 100 - green, "green": green})


def becomes(expected: object, look: Callable[[], object], timeout_s: float = 20) -> bool:
    """Whether that is seen; a router's threads take a route over moments after it was set."""
    end = time.monotonic() + timeout_s
    while look() != expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class RouterContract:
    """The promises; one test each."""

    @pytest.fixture
    def client(self, bench: RouterBench) -> Iterable[Client]:
        client = Client(bench.address)
        yield client
        client.close()

    @pytest.fixture
    def tenant(self, request: pytest.FixtureRequest) -> str:
        """A tenant that no other test uses."""
        return f"t {request.node.name}"

    def served(self, bench: RouterBench, tenant: str) -> dict[str, Served]:
        return dict(bench.router.served(TenantId(tenant)))

    def check(
        self, bench: RouterBench, tenant: str, between: Callable[[], object] = lambda: None
    ) -> list[Checked]:
        """A check whose window is what ``between`` does."""

        def pause(_: float) -> None:
            between()

        return check_traffic([bench.router], [TenantId(tenant)], RULES, pause=pause)

    def codes(self, checked: list[Checked]) -> set[str]:
        return {finding.code for one in checked for finding in one.findings}

    # -- where requests go

    def test_shares_hold(self, bench: RouterBench, client: Client, tenant: str) -> None:
        bench.router.set_route(route(tenant, 10))
        for number, sessions in ((2000, (f"s{n}" for n in range(2000))), (500, itertools.repeat(None, 500))):
            answers = Counter(client.ask(tenant, session) for session in sessions)
            low, high = bounds(0.10, number, RULES)
            assert set(answers) == {"blue", "green"}
            assert low < answers["green"] / number < high

    def test_a_session_stays_where_it_is(self, bench: RouterBench, client: Client, tenant: str) -> None:
        bench.router.set_route(route(tenant, 50))
        first = {n: client.ask(tenant, f"s{n}") for n in range(300)}
        other = Client(bench.address)
        assert set(first.values()) == {"blue", "green"}
        assert {n: other.ask(tenant, f"s{n}", path="/elsewhere") for n in range(300)} == first
        by_cookie = {
            n: client.ask(tenant, headers={"cookie": f"a=b; {SESSION_COOKIE}=s{n}"}) for n in range(300)
        }
        assert set(by_cookie.values()) == {"blue", "green"}
        again = {n: other.ask(tenant, headers={"cookie": f"{SESSION_COOKIE}=s{n}"}) for n in range(300)}
        assert again == by_cookie
        other.close()

    def test_sessions_only_move_to_the_share_that_grows(
        self, bench: RouterBench, client: Client, tenant: str
    ) -> None:
        where: dict[int, str] = {}
        shares = (0, 10, 25, 50, 75, 100, 75, 25, 0)
        for before, green in zip((0, *shares), shares, strict=False):
            bench.router.set_route(route(tenant, green))
            grows = "green" if green >= before else "blue"
            time.sleep(0.05)
            now = {n: client.ask(tenant, f"s{n}") for n in range(200)}
            assert all(now[n] == grows for n, there in where.items() if now[n] != there)
            assert where == {} or now != where
            where = now

    def test_writes_go_to_the_writer_only(self, bench: RouterBench, client: Client, tenant: str) -> None:
        for writer, green in (("green", 10), ("blue", 90), ("green", 0), ("blue", 100)):
            bench.router.set_route(route(tenant, green, writer))
            assert becomes(writer, partial(client.ask, tenant, method="POST"))
            answers = Counter(client.ask(tenant, f"s{n}", method=m) for n in range(40) for m in WRITE_METHODS)
            answers += Counter(client.ask(tenant, f"s{n}", headers={WRITE_HEADER: "1"}) for n in range(40))
            assert set(answers) == {writer}

    @pytest.mark.parametrize("writer", ["blue", "green"])
    def test_nothing_and_everything_are_exact(
        self, bench: RouterBench, client: Client, tenant: str, writer: str
    ) -> None:
        for green, only in ((0, "blue"), (100, "green")):
            bench.router.set_route(route(tenant, green, writer))
            assert becomes(only, partial(client.ask, tenant))
            sessions = [*(f"s{n}" for n in range(300)), *itertools.repeat(None, 300)]
            assert Counter(client.ask(tenant, session) for session in sessions) == {only: 600}

    @pytest.mark.parametrize(("tenant", "neighbour"), LOOK_ALIKES)
    def test_hostile_ids_are_routed_and_nobody_else(
        self, bench: RouterBench, client: Client, tenant: str, neighbour: str
    ) -> None:
        there = route(tenant, 100, "green")
        bench.router.set_route(there)
        try:
            assert becomes("green", partial(client.ask, tenant))
            assert client.ask(tenant, method="POST") == "green"
            assert client.ask(neighbour) == client.ask(neighbour, method="POST") == "blue"
            assert bench.router.intended(there.tenant) == bench.router.actual(there.tenant) == there
            assert bench.router.actual(TenantId(neighbour)) is None
            assert there.tenant in bench.router.routed()
        finally:
            bench.router.clear_route(there.tenant)
        assert there.tenant not in bench.router.routed()

    def test_a_route_changes_nobody_elses(self, bench: RouterBench, client: Client, tenant: str) -> None:
        other, nobody = f"{tenant} other", f"{tenant} nobody"
        bench.router.set_route(route(other, 30, "green"))
        before = {n: client.ask(other, f"s{n}") for n in range(200)}
        for green in (0, 50, 100):
            bench.router.set_route(route(tenant, green))
            assert {n: client.ask(other, f"s{n}") for n in range(200)} == before
            assert client.ask(nobody) == "blue"
        bench.router.clear_route(TenantId(tenant))
        assert bench.router.actual(TenantId(other)) == route(other, 30, "green")

    def test_an_empty_id_and_an_unknown_environment_are_refused(
        self, bench: RouterBench, tenant: str
    ) -> None:
        before = bench.files()
        for wrong in (route("", 10), Route(TenantId(tenant), "red", {"blue": 100})):
            with pytest.raises(UsageError):
                bench.router.set_route(wrong)
        assert bench.files() == before
        assert bench.router.intended(TenantId(tenant)) is None

    # -- what it says and keeps

    def test_it_says_what_it_was_asked_to_do(self, bench: RouterBench, tenant: str) -> None:
        router = bench.router
        for green, writer in ((10, "blue"), (0, "blue"), (100, "green"), (50, "green")):
            asked = route(tenant, green, writer)
            router.set_route(asked)
            assert router.intended(asked.tenant) == asked
            assert router.written(asked.tenant) == asked
            assert router.actual(asked.tenant) == asked
        router.clear_route(TenantId(tenant))
        router.clear_route(TenantId(tenant))
        for look in (router.intended, router.written, router.actual):
            assert look(TenantId(tenant)) is None

    def test_a_route_that_is_there_is_not_written_again(self, bench: RouterBench, tenant: str) -> None:
        bench.router.set_route(route(tenant, 25))
        before = bench.files()
        bench.router.set_route(route(tenant, 25))
        assert bench.files() == before
        bench.router.set_route(route(tenant, 26))
        assert bench.files() != before

    def test_a_restart_changes_nothing(self, bench: RouterBench, tenant: str) -> None:
        asked = route(tenant, 50, "green")
        bench.router.set_route(asked)
        client = Client(bench.address)
        before = {n: client.ask(tenant, f"s{n}") for n in range(100)}
        client.close()
        for end in (bench.stop, bench.kill):
            end()
            bench.start()
            client = Client(bench.address)
            assert bench.router.actual(asked.tenant) == asked
            assert {n: client.ask(tenant, f"s{n}") for n in range(100)} == before
            client.close()

    def test_a_dead_router_is_said_and_gets_the_route_when_it_is_back(
        self, bench: RouterBench, tenant: str
    ) -> None:
        asked = route(tenant, 100, "green")
        bench.kill()
        try:
            with pytest.raises(StoreUnavailable) as raised:
                bench.router.set_route(asked)
            assert raised.value.retryable and raised.value.next_step
            for look in (bench.router.actual, bench.router.served):
                with pytest.raises(StoreUnavailable):
                    look(asked.tenant)
            assert bench.router.intended(asked.tenant) == bench.router.written(asked.tenant) == asked
            assert {finding.code for finding in bench.router.probe()} == {"traffic.unreachable"}
            assert self.codes(self.check(bench, tenant)) == {"traffic.unreachable"}
        finally:
            bench.start()
        client = Client(bench.address)
        assert client.ask(tenant) == client.ask(tenant, method="PUT") == "green"
        client.close()
        assert bench.router.actual(asked.tenant) == asked

    def test_two_processes_that_write_at_once_lose_no_route(self, bench: RouterBench, tenant: str) -> None:
        names = [f"{tenant} {n}" for n in range(12)]

        def write(router: Router, half: list[str]) -> None:
            for name in half:
                router.set_route(route(name, 40))

        with ThreadPoolExecutor(3) as pool:
            jobs = [pool.submit(write, bench.another(), names[n::3]) for n in range(3)]
            for job in jobs:
                job.result()
        for name in names:
            assert bench.router.written(TenantId(name)) == route(name, 40)
            assert bench.router.actual(TenantId(name)) == route(name, 40)
            assert bench.router.intended(TenantId(name)) == route(name, 40)

    # -- what it counts

    def test_requests_are_counted_one_by_one(self, bench: RouterBench, client: Client, tenant: str) -> None:
        assert self.served(bench, tenant).get("green", Served()) == Served()
        bench.router.set_route(route(tenant, 50))
        reads = Counter(client.ask(tenant, f"s{n}") for n in range(200))
        for n in range(30):
            client.ask(tenant, f"s{n}", method="POST")
        failed = [client.ask(tenant, f"s{n}", path="/fail") for n in range(20)]
        assert set(failed) == {"status 500"}
        seen = self.served(bench, tenant)
        assert sum(one.requests for one in seen.values()) == 250
        assert sum(one.errors for one in seen.values()) == 20
        assert (seen["blue"].writes, seen["green"].writes) == (30, 0)
        assert seen["green"].reads - reads["green"] + seen["blue"].reads - reads["blue"] == 20
        client.ask(f"{tenant} nobody")
        assert self.served(bench, f"{tenant} nobody") == {}
        assert self.served(bench, tenant) == seen

    def test_requests_that_nobody_answers_are_errors(
        self, bench: RouterBench, client: Client, tenant: str
    ) -> None:
        bench.router.set_route(route(tenant, 100))
        assert becomes("green", partial(client.ask, tenant))
        before = self.served(bench, tenant)["green"]
        bench.applications.refuse("green")
        try:
            assert client.ask(tenant) == "status 503"
        finally:
            bench.applications.accept("green")
        after = self.served(bench, tenant)["green"]
        assert (after.requests - before.requests, after.errors - before.errors) == (1, 1)
        assert client.ask(tenant) == "green"

    # -- drift

    def test_honest_traffic_is_no_drift(self, bench: RouterBench, client: Client, tenant: str) -> None:
        bench.router.set_route(route(tenant, 25))

        def traffic() -> None:
            for n in range(400):
                client.ask(tenant, f"honest {n}")
                if n % 10 == 0:
                    client.ask(tenant, f"honest {n}", method="DELETE")

        (checked,) = self.check(bench, tenant, traffic)
        assert self.codes([checked]) == {"traffic.as-intended"}
        assert {one.environment: one.expected for one in checked.counted} == {"blue": 75, "green": 25}
        assert sum(one.reads for one in checked.counted) == 400
        assert self.codes(self.check(bench, tenant)) == {"traffic.not-judged"}

    @pytest.mark.parametrize(
        "other", [(11, "blue"), (10, "green"), (100, "green"), (0, "blue")], ids=lambda o: f"{o[0]}-{o[1]}"
    )
    def test_a_route_changed_behind_our_back_is_drift(
        self, bench: RouterBench, tenant: str, other: tuple[int, str]
    ) -> None:
        asked, changed = route(tenant, 10), route(tenant, *other)
        bench.router.set_route(asked)
        bench.tamper(changed)
        assert bench.router.intended(asked.tenant) == asked
        assert bench.router.actual(asked.tenant) == changed
        assert "traffic.drift-config" in self.codes(self.check(bench, tenant))
        assert asked.tenant in bench.router.routed()
        bench.router.set_route(asked)
        assert self.codes(self.check(bench, tenant)) == {"traffic.not-judged"}
        assert bench.router.written(asked.tenant) == asked

    def test_counts_that_contradict_the_share_are_drift(
        self, bench: RouterBench, client: Client, tenant: str
    ) -> None:
        bench.router.set_route(route(tenant, 10))
        sessions = [name for name in map(str, range(300)) if client.ask(tenant, name) == "green"]
        some = itertools.islice(itertools.cycle(sessions), 300)
        checked = self.check(bench, tenant, lambda: [client.ask(tenant, name) for name in some])
        assert self.codes(checked) == {"traffic.drift-served"}
        said = {finding.message.split(";")[0] for finding in checked[0].findings}
        assert said == {"blue served 0 of 300 reads, 0.00 %", "green served 300 of 300 reads, 100.00 %"}

    def test_one_write_in_the_wrong_place_is_drift(
        self, bench: RouterBench, client: Client, tenant: str
    ) -> None:
        asked = route(tenant, 0)
        bench.router.set_route(asked)

        def astray() -> None:
            bench.tamper(route(tenant, 0, "green"))
            assert becomes("green", partial(client.ask, tenant, method="POST"))

        assert "traffic.drift-served" in self.codes(self.check(bench, tenant, astray))

    # -- under load

    def test_no_request_fails_while_routes_change(self, bench: RouterBench, tenant: str) -> None:
        names, stop = [tenant, f"{tenant} other"], threading.Event()
        failures: list[str] = []
        bench.router.set_route(route(tenant, 0))
        # Every key from the start: it is read while others count.
        answers = Counter({"blue": 0, "green": 0})
        lock = threading.Lock()

        def load(name: str, number: int) -> None:
            client = Client(bench.address)
            for n in itertools.count():
                if stop.is_set():
                    break
                method = "POST" if n % 5 == 0 else "GET"
                path = "/slow" if n % 7 == 0 else "/"
                try:
                    answer = client.ask(name, f"{number} {n}", method=method, path=path)
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    return
                if answer not in answers:
                    failures.append(answer)
                    return
                with lock:
                    answers[answer] += 1
            client.close()

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(load, name, number) for name in names for number in range(2)]
            try:
                turns = 0
                while turns < 50 or (answers.total() < 300 and not failures):
                    turns += 1
                    bench.router.set_route(
                        route(tenant, (0, 10, 25, 50, 100)[turns % 5], "blue" if turns % 2 else "green")
                    )
            finally:
                stop.set()
            for job in jobs:
                job.result()
        assert failures == []
        assert min(answers.values()) > 0
