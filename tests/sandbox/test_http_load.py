"""The load over HTTP: it promises nothing that it did not see, and sees what is wrong."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tenant_lifecycle.cli.program import main
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.http_load.load import NAMES, HttpLoad
from tenant_lifecycle.sandbox.http_load.reads import READS
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.open_items import redis_client
from tenant_lifecycle.testing.proxy import FaultProxy

TENANTS = {"acme": 2, "o'neill & sons": 1, "zürich-rück": 1, "1": 1, "12": 1}


def load(box, ledger: Path, **more) -> HttpLoad:
    urls = more.pop("urls", [box.urls["router"]])
    return HttpLoad(HttpLoadConfig(urls, more.pop("tenants", TENANTS), ledger, rate=None, **more))


def judge(box, ledger: Path, tenants=TENANTS) -> LedgerReport:
    with box.items("blue") as readers:
        return check(ledger, box.dsn("blue"), list(tenants), readers)


def test_every_kind_of_request_is_made_and_everything_holds(box, tmp_path) -> None:
    run = load(box, tmp_path)
    run.start()
    run.wait(lambda: run.requests > 600)
    summary = run.stop()
    assert (summary.failed, summary.unknown, summary.errors, summary.stale_reads) == (0, 0, [], [])
    assert set(summary.kinds) == NAMES | {draw.__name__ for draw in READS}
    report = judge(box, tmp_path)
    assert report.violations == ()
    assert report.acknowledged == summary.acknowledged > 200
    assert report.checked > 3 * report.acknowledged
    assert summary.served["writes"] == {"blue": summary.acknowledged}


def test_the_application_is_killed_and_comes_back_and_the_ledger_holds(box, tmp_path) -> None:
    app = box.any_server("blue/app")
    run = load(box, tmp_path, urls=[box.urls["blue"]])
    run.start()
    run.wait(lambda: run.requests > 100)
    app.kill()
    time.sleep(0.3)
    app.start()
    before = run.requests
    run.wait(lambda: run.requests > before + 150)
    summary = run.stop()
    assert summary.failed > 0, "somebody saw it"
    assert summary.stale_reads == []
    report = judge(box, tmp_path)
    assert report.violations == ()
    assert report.failed + report.unknown > 0


def test_answers_that_get_lost_are_unknown_or_sent_again_and_the_ledger_holds(box, tmp_path) -> None:
    port = int(box.urls["blue"].rpartition(":")[2])
    with FaultProxy("127.0.0.1", port) as proxy:
        run = load(box, tmp_path, urls=[f"http://127.0.0.1:{proxy.port}"])
        run.start()
        for _ in range(12):
            time.sleep(0.15)
            proxy.cut()
        summary = run.stop()
    assert summary.repeated > 0
    assert summary.stale_reads == []
    report = judge(box, tmp_path)
    assert report.violations == ()


def test_a_read_that_does_not_show_what_was_written_is_noticed(box, tmp_path) -> None:
    settings = box.connections["blue"]["redis"]
    stop = threading.Event()

    def forget_sessions() -> None:
        with redis_client(settings) as redis:
            while not stop.is_set():
                for key in redis.scan_iter("session:hooli:[0-9]*"):
                    redis.delete(key)

    vandal = threading.Thread(target=forget_sessions)
    vandal.start()
    try:
        run = load(box, tmp_path, tenants={"hooli": 2}, kinds=["put_session"])
        run.start()
        run.wait(lambda: run.requests > 150)
        summary = run.stop()
    finally:
        stop.set()
        vandal.join()
    assert summary.failed == 0
    assert any("session" in sentence for sentence in summary.stale_reads)
    assert judge(box, tmp_path, ["hooli"]).lost > 0


def test_a_load_of_its_own_process_ends_on_sigterm_with_a_summary(box, tmp_path) -> None:
    config = HttpLoadConfig([box.urls["router"]], {"12": 2}, tmp_path / "ledger", rate=None)
    with subprocess.Popen(
        [sys.executable, "-m", "tenant_lifecycle.sandbox.http_load.load", "--config", config.to_json()],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert json.loads(process.stdout.readline())["event"] == "writing"
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        summary = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])
    assert process.returncode == 0
    assert summary["acknowledged"] > 5
    report = judge(box, tmp_path / "ledger", ["12"])
    assert (report.acknowledged, report.violations) == (summary["acknowledged"], ())


def test_a_tenant_that_is_not_there_is_refused(box, tmp_path) -> None:
    with pytest.raises(UsageError, match="does not serve tenant nobody"):
        load(box, tmp_path, tenants={"nobody": 1}).start()
    with pytest.raises(UsageError, match="no kind of write is called sing"):
        load(box, tmp_path, kinds=["sing"])


def test_the_router_shares_out_reads_and_sends_writes_to_the_writer(box, tmp_path) -> None:
    """With the sandbox's own files, as `tenantctl traffic` has it."""
    tenant = "o'neill & sons"
    file = str(box.folder / "lifecycle.yaml")
    assert (
        main(["-c", file, "traffic", "set", tenant, "--writer", "blue", "--share", "blue=50,green=50"]) == 0
    )
    try:
        run = load(box, tmp_path, tenants={tenant: 8})
        run.start()
        run.wait(lambda: run.requests > 300)
        summary = run.stop()
    finally:
        assert main(["-c", file, "traffic", "clear", tenant]) == 0
    assert (summary.failed, summary.stale_reads) == (0, [])
    assert set(summary.served["writes"]) == {"blue"}
    assert set(summary.served["reads"]) == {"blue", "green"}
    assert judge(box, tmp_path, [tenant]).violations == ()
