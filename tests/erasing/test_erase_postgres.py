"""An erasure on a real PostgreSQL server, from files and commands, verified by a role that may only read."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

from erasing_stage import ACME
from erasure_sample import MAP, rows_of_others, sample

from tenant_lifecycle import ownership_file
from tenant_lifecycle.catalog.certificates import Certificates
from tenant_lifecycle.cli import main
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence_file import EvidenceConfig
from tenant_lifecycle.model.erasure.request import Exception17, Ground, RequestState
from tenant_lifecycle.model.operation import Operation, State
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.wiring import Installation, Lifecycle, find_installation
from tenant_lifecycle.wiring.certifying import issued_bundle

_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: the verifier searches every database of a server."""
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-erase-", dir=_FAST) as folder:
        Path(folder).chmod(0o755)
        running = PostgresServer(18, Path(folder) / "pg", settings={"fsync": "off", "shared_buffers": "32MB"})
        running.start()
        yield running
        running.stop("immediate")


@pytest.fixture
def lifecycle(server: PostgresServer, tmp_path: Path) -> Iterator[Lifecycle]:
    """One environment with one tenant, its neighbour as the control, and a verifier that only reads."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS rag WITH (FORCE)")
        conn.execute("CREATE DATABASE rag")
        conn.execute("DROP ROLE IF EXISTS verifier")
        conn.execute("CREATE ROLE verifier LOGIN BYPASSRLS IN ROLE pg_read_all_data")
    sample(server.dsn("rag"), docs=8)
    with psycopg.connect(server.dsn("rag"), autocommit=True) as conn:
        conn.execute("GRANT SELECT ON pg_catalog.pg_largeobject TO verifier")
    (tmp_path / "ownership.yaml").write_text(ownership_file.render(MAP))
    opened = Lifecycle(_installation(tmp_path, server))
    yield opened
    opened.close()


def _installation(folder: Path, server: PostgresServer) -> Installation:
    store = {
        "kind": "postgres",
        "dsn": server.dsn("rag"),
        "verify": {"dsn": server.dsn("rag", "verifier")},
    }
    text = f"""
version: 1
environments: {json.dumps({"blue": {"stores": {"postgres": store}}})}
erasure: {{cooling_off: 0s, settle: 0s, rescans: [], control_tenant: acme2}}
evidence:
  origin: example.com/audit
  issuer: {{legal_name: Example GmbH, role: processor, contact: privacy@example.com}}
  keys:
    performer: {{file: performer.pem}}
    verifier: {{file: verifier.pem}}
    log: {{file: log.pem}}
"""
    for role in (Role.PERFORMER, Role.VERIFIER, Role.LOG):
        LocalSigner.generate(role).write(folder / f"{role.value}.pem")
    (folder / "lifecycle.yaml").write_text(text)
    return find_installation(folder / "lifecycle.yaml")


def approved(lifecycle: Lifecycle) -> str:
    """A request as far as two people's approval."""
    erasures = lifecycle.erasures
    request = erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
    plan = erasures.plan(request.id, actor="petra@desk")
    assert not plan.refusals, plan.refusals
    for person in ("ann@desk", "bob@desk"):
        erasures.approve(request.id, plan=plan.digest, actor=person)
    return request.id


def drive(lifecycle: Lifecycle, operation_id: str) -> Operation:
    with lifecycle.runner() as runner:
        while True:
            operation = runner.wait(operation_id, 0.2)
            waits = operation.state is State.WAITING and operation.wake_signals
            if operation.terminal or operation.state is State.ATTENTION or waits:
                return operation


def test_a_tenant_is_erased_and_verified_on_a_real_server(
    lifecycle: Lifecycle, server: PostgresServer
) -> None:
    database = Database("blue/postgres", "blue", server.dsn("rag"), MAP)
    before = rows_of_others(database, ACME)
    request_id = approved(lifecycle)
    operation = drive(lifecycle, lifecycle.erasures.start(request_id, actor="petra@desk").id)
    assert operation.state is State.SUCCEEDED, (operation.why, lifecycle.erasures.residuals(request_id))
    assert operation.result is not None and operation.result["overall"] == "COMPLETE"
    assert operation.result["systems"][0]["level"] == "V2"
    assert lifecycle.erasures.find(request_id).state is RequestState.COMPLETED
    after = rows_of_others(database, ACME)
    assert after == before


def test_a_table_that_no_map_mentions_is_found_and_proposed(
    lifecycle: Lifecycle, server: PostgresServer
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS shadow WITH (FORCE)")
        conn.execute("CREATE DATABASE shadow")
    with psycopg.connect(server.dsn("shadow"), autocommit=True) as conn:
        conn.execute("CREATE TABLE exports (line text)")
        conn.execute('INSERT INTO exports VALUES (\'{"tenant": "acme"}\')')
    request_id = approved(lifecycle)
    operation_id = lifecycle.erasures.start(request_id, actor="petra@desk").id
    operation = drive(lifecycle, operation_id)
    assert operation.state is State.WAITING
    assert lifecycle.erasures.find(request_id).state is RequestState.NEEDS_HUMAN
    (hit,) = lifecycle.erasures.residuals(request_id)["blue/postgres"]
    assert "exports" in hit["place"]
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE shadow WITH (FORCE)")
    lifecycle.erasures.again(request_id, actor="petra@desk")
    assert drive(lifecycle, operation_id).state is State.SUCCEEDED


def keeping(lifecycle: Lifecycle, *sets: str) -> Lifecycle:
    """The same installation with a retention rule for each of the sets."""
    file = lifecycle.installation.file
    rules = [
        {"store": "postgres", "set": name, "ground": Exception17.LEGAL_OBLIGATION.value, "until": "2099-12-31", "why": "tax"}
        for name in sets
    ]  # fmt: skip
    text = file.read_text()
    file.write_text(text.replace("control_tenant:", f"retention: {json.dumps(rules)}, control_tenant:"))
    return Lifecycle(find_installation(file))


def test_what_has_to_be_retained_stays_and_the_certificate_says_so(
    lifecycle: Lifecycle, server: PostgresServer
) -> None:
    def rows(table: str) -> int:
        with psycopg.connect(server.dsn("rag")) as conn:
            found = conn.execute(f'SELECT count(*) FROM "{table}" WHERE tenant_id = %s', (ACME,)).fetchone()
        return int(found[0]) if found else -1

    before = rows("events")
    with keeping(lifecycle, "public.events") as keeper:
        request_id = approved(keeper)
        operation = drive(keeper, keeper.erasures.start(request_id, actor="petra@desk").id)
        assert operation.state is State.SUCCEEDED, (operation.why, keeper.erasures.residuals(request_id))
        assert operation.result is not None and operation.result["overall"] == "COMPLETE_WITH_EXCEPTIONS"
        assert operation.result["certificate"]["class"] == "PARTIAL_HELD"
        newest = Certificates(keeper.database).of_request(request_id)[-1]
        (kept,) = issued_bundle(newest).predicate.retained
    assert before > 0 and rows("events") == before and rows("docs") == 0
    assert kept.ground == Exception17.LEGAL_OBLIGATION.value, kept


def test_a_row_that_is_retained_keeps_what_it_refers_to_or_is_refused(lifecycle: Lifecycle) -> None:
    with keeping(lifecycle, "public.messages") as keeper:
        request = keeper.erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
        plan = keeper.erasures.plan(request.id, actor="petra@desk")
        (refused,) = plan.refusals
        assert refused.code == "erase.keeps-half" and "public.chats" in refused.message


def test_a_large_object_stays_with_the_rows_that_are_retained(lifecycle: Lifecycle) -> None:
    with keeping(lifecycle, "public.files") as keeper:
        request = keeper.erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
        (refused,) = keeper.erasures.plan(request.id, actor="petra@desk").refusals
        assert refused.code == "erase.keeps-half" and "large objects" in refused.message


def test_a_rule_that_keeps_nothing_is_refused(lifecycle: Lifecycle) -> None:
    with keeping(lifecycle, "public.event") as keeper:
        request = keeper.erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
        (refused,) = keeper.erasures.plan(request.id, actor="petra@desk").refusals
        assert refused.code == "erase.keeps-nothing" and "public.events" in refused.next_step


@pytest.fixture
def say(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """``say("ann", "erase", "list")`` runs one command line as a person; exit code and JSON."""
    # The test drives by itself: no process of its own is left behind.
    monkeypatch.setattr(Lifecycle, "ensure_runner", lambda self: None)

    def run(person: str, *words: str) -> tuple[int, Any]:
        monkeypatch.setenv("LOGNAME", person)
        capsys.readouterr()
        code = main(["-c", str(lifecycle.installation.file), *words, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    return run


def test_from_request_to_result_on_the_command_line(
    lifecycle: Lifecycle, say: Callable[..., tuple[int, Any]]
) -> None:
    code, said = say("petra", "erase", "request", "--tenant", "acme", "--ground", "art-28-3-g")
    assert code == ExitCode.OK and said["request"]["state"] == "RECEIVED"
    request_id = said["request"]["id"]
    assert 27.9 < said["request"]["days_left"] <= 30
    code, said = say("petra", "erase", "start", request_id, "--confirm", "acme")
    assert code == ExitCode.CONFLICT, "nothing is planned or approved yet"
    code, said = say("petra", "erase", "plan", request_id)
    digest = said["digest"]
    assert code == ExitCode.OK and said["state"] == "AWAITING_APPROVAL"
    code, said = say("petra", "erase", "approve", request_id, "--if-plan", digest)
    assert code == ExitCode.REFUSED and "another person" in said["error"]["message"]
    code, said = say("ann", "erase", "approve", request_id, "--if-plan", "sha256:0")
    assert code == ExitCode.CONFLICT
    assert say("ann", "erase", "approve", request_id, "--if-plan", digest)[0] == ExitCode.OK
    assert say("ann", "erase", "approve", request_id, "--if-plan", digest)[0] == ExitCode.REFUSED
    code, said = say("bob", "erase", "approve", request_id, "--if-plan", digest)
    assert code == ExitCode.OK and said["request"]["state"] == "COOLING_OFF"
    assert said["next_steps"][0]["command"].startswith("tenantctl erase start")
    code, said = say("petra", "erase", "start", request_id, "--confirm", "acme2")
    assert code == ExitCode.USAGE, "another tenant was confirmed"
    code, said = say("petra", "erase", "start", request_id, "--confirm", "acme", "--if-plan", digest)
    assert code == ExitCode.OK, said
    drive(lifecycle, said["operation"]["id"])
    code, said = say("petra", "erase", "get", request_id)
    assert said["request"]["state"] == "COMPLETED"
    kinds = [event["kind"] for event in said["events"]]
    assert kinds.count("refused") == 4 and kinds[-1] == "COMPLETED"
    assert say("petra", "erase", "residuals", request_id) == (
        ExitCode.OK,
        {"residuals": {}, "next_steps": []},
    )
    assert say("petra", "erase", "cancel", request_id)[0] == ExitCode.CONFLICT
    assert say("petra", "erase", "get", "er_nothing")[0] == ExitCode.NOT_FOUND


def test_holds_on_the_command_line(say: Callable[..., tuple[int, Any]]) -> None:
    code, said = say("jura", "hold", "add", "acme", "--matter", "M-1")
    assert code == ExitCode.OK and said["hold"]["blocks"] and said["destroyed_before"] == {}
    hold_id = said["hold"]["id"]
    assert say("jura", "hold", "approve", hold_id)[0] == ExitCode.REFUSED
    assert say("chief", "hold", "approve", hold_id)[1]["hold"]["state"] == "ACTIVE"
    say("petra", "erase", "request", "--tenant", "acme", "--ground", "art-17-1-a")
    code, said = say("petra", "erase", "plan", "acme")
    assert code == ExitCode.REFUSED and said["state"] == "BLOCKED_BY_HOLD"
    assert say("jura", "hold", "release", hold_id, "--reason", "settled")[1]["hold"]["blocks"]
    assert say("jura", "hold", "release", hold_id, "--reason", "settled")[0] == ExitCode.REFUSED
    code, said = say("chief", "hold", "release", hold_id, "--reason", "settled")
    assert said["hold"]["state"] == "RELEASING" and said["hold"]["blocks"], "for seven more days"
    assert len(say("jura", "hold", "list", "--tenant", "acme")[1]["holds"]) == 1
    assert say("jura", "hold", "list", "--tenant", "acme2")[1]["holds"] == []
    assert say("jura", "hold", "release", "ho_nothing", "--reason", "x")[0] == ExitCode.NOT_FOUND
    code, said = say("jura", "hold", "add", " ", "--matter", "M-2")
    assert code == ExitCode.USAGE


def test_certificates_on_the_command_line(
    lifecycle: Lifecycle, say: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    request_id, folder, policy = approved(lifecycle), tmp_path / "bundle", tmp_path / "policy.json"
    assert say("petra", "erase", "cert", "get", request_id)[0] == ExitCode.NOT_FOUND
    assert say("petra", "erase", "cert", "export", request_id, str(folder))[0] == ExitCode.NOT_FOUND
    assert say("petra", "erase", "cert", "issue", request_id)[0] == ExitCode.CONFLICT, "nothing is erased yet"
    drive(lifecycle, lifecycle.erasures.start(request_id, actor="petra@desk").id)
    code, said = say("petra", "erase", "cert", "get", "acme")
    assert code == ExitCode.OK and [one["class"] for one in said["certificates"]] == ["FINAL", "FINAL"]
    assert said["certificate"]["systems"][0]["verification"]["coverage"]["bytes_scanned"] > 0
    code, again = say("petra", "erase", "cert", "issue", "acme")
    assert code == ExitCode.OK and again["certificate"]["id"] == said["certificates"][-1]["id"]
    code, read = say("petra", "erase", "cert", "verify", "acme")
    assert code == ExitCode.OK and read["problems"] == [] and "tenant-certificate-verify" in read["offline"]
    code, written = say("petra", "erase", "cert", "export", "acme", str(folder))
    assert code == ExitCode.OK and "certificate.pdf" in written["files"] and "tenant.json" in written["files"]
    assert say("petra", "erase", "cert", "export", "acme", str(folder))[0] == ExitCode.USAGE
    say("petra", "erase", "cert", "export", "acme", str(tmp_path / "others"), "--without-tenant")
    assert not (tmp_path / "others" / "tenant.json").exists()
    config = ["-c", str(lifecycle.installation.file)]
    assert main([*config, "audit", "trust-policy", "--file", str(policy)]) == ExitCode.OK
    assert main([*config, "audit", "trust-policy", "--file", str(policy)]) == ExitCode.USAGE
    program = Path(sys.executable).parent / "tenant-certificate-verify"
    for bundle in (folder, tmp_path / "others"):
        done = subprocess.run(
            [program, "--policy", policy, bundle], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "VALID_COMPLETE" in done.stdout, done.stdout + done.stderr
    lifecycle.erasures.office.revoke(request_id, "a mistake", actor="ann@desk")
    code, read = say("petra", "erase", "cert", "verify", "acme")
    assert code == ExitCode.DIFFERENCES and read["problems"] == ["it was revoked: a mistake"]


def test_a_certificate_is_issued_later_when_there_were_no_keys(
    lifecycle: Lifecycle, server: PostgresServer, tmp_path: Path
) -> None:
    keyless = replace(lifecycle.installation, evidence=EvidenceConfig())
    with Lifecycle(keyless) as poor:
        request_id = approved(poor)
        operation = drive(poor, poor.erasures.start(request_id, actor="petra@desk").id)
        assert operation.result is not None and "none" in operation.result["certificate"]
        assert poor.erasures.certificate(request_id) is None
        with pytest.raises(ConfigError, match="no keys for performer, verifier, log"):
            poor.erasures.issue_certificate(request_id)
    assert lifecycle.erasures.issue_certificate(request_id).certificate_class == "FINAL"
    assert lifecycle.erasures.read_certificate(request_id).problems == ()
