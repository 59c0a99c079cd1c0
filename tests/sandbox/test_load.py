"""The load writes what its ledger says, whatever happens to it or to the network."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import psutil
import pytest

from tenant_lifecycle.sandbox.ledger_check import check
from tenant_lifecycle.sandbox.load import Load, LoadConfig
from tenant_lifecycle.sandbox.text import Writer as Text
from tenant_lifecycle.sandbox.writes import Mix
from tenant_lifecycle.sandbox.writes.hand import Belongings, Hand
from tenant_lifecycle.testing.proxy import FaultProxy, Way


def config(dsn: str, ledger: Path, **more) -> LoadConfig:
    return LoadConfig({"blue": dsn}, {"acme": 2, "globex": 1}, ledger, **more)


def spawn(config: LoadConfig) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-m", "tenant_lifecycle.sandbox.load", "--config", config.to_json()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline())["event"] == "writing"
    return process


def wait_for(condition, timeout_s: float = 20) -> bool:
    end = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def lines(ledger: Path) -> int:
    return sum(path.read_text().count("\n") for path in ledger.glob("*.jsonl"))


def test_a_load_of_its_own_process_ends_on_sigterm_with_a_summary(sandbox_pair, tmp_path) -> None:
    pair = sandbox_pair()
    ledger = tmp_path / "ledger"
    with spawn(config(pair.blue.replace("user=postgres", "user=rag_app"), ledger, rate=None)) as process:
        assert wait_for(lambda: lines(ledger) > 200)
        process.send_signal(signal.SIGTERM)
        summary = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])
    assert process.returncode == 0
    assert summary["failed"] == summary["unknown"] == 0
    report = check(ledger, pair.blue, ["acme", "globex"])
    assert report.ok, report.violations[:5]
    assert report.acknowledged == summary["acknowledged"] == sum(summary["kinds"].values())


def test_after_kill_9_of_the_load_at_most_one_write_per_writer_is_unknown(sandbox_pair, tmp_path) -> None:
    pair = sandbox_pair()
    ledger = tmp_path / "ledger"
    with spawn(config(pair.blue, ledger, rate=None)) as process:
        assert wait_for(lambda: lines(ledger) > 200)
        process.kill()
    report = check(ledger, pair.blue, ["acme", "globex"])
    assert report.ok, report.violations[:5]
    assert report.unknown <= 3 and report.acknowledged > 50


def test_a_load_does_not_outlive_who_started_it(sandbox_pair, tmp_path) -> None:
    code = (
        "import subprocess, sys\n"
        "load = subprocess.Popen([sys.executable, '-m', 'tenant_lifecycle.sandbox.load', '--config', sys.argv[1]],"
        " stdout=subprocess.PIPE, text=True)\n"
        "load.stdout.readline()\nprint(load.pid)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            code,
            config(sandbox_pair().blue, tmp_path / "ledger").to_json(),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    assert wait_for(gone)


def test_cuts_in_the_network_leave_the_ledger_true(sandbox_pair, tmp_path) -> None:
    pair = sandbox_pair()
    random = Random(1)
    with FaultProxy("127.0.0.1", pair.blue_server.port) as proxy:
        through = pair.blue.replace(f"port={pair.blue_server.port}", f"port={proxy.port}")
        load = Load(config(through, tmp_path, rate=None))
        load.start()
        for _ in range(40):
            time.sleep(random.random() * 0.08)
            if random.random() < 0.5:
                proxy.cut()
            else:
                # Most likely between a COMMIT and its answer: these are what makes outcomes unknown.
                proxy.cut_after(random.randrange(200), Way.TO_CLIENT)
        proxy.heal()
        summary = load.stop()
    report = check(tmp_path, pair.blue, ["acme", "globex"])
    assert report.ok, report.violations[:5]
    assert report.acknowledged == summary.acknowledged > 50
    assert report.unknown == summary.unknown > 0, "some answers to COMMIT were lost"
    assert summary.failed == 0, "what was rolled back for certain was tried again"


def test_a_restart_of_the_server_loses_no_acknowledged_write(tmp_path, sandbox_pair) -> None:
    pair = sandbox_pair()
    load = Load(config(pair.blue, tmp_path, rate=200))
    load.start()
    time.sleep(0.5)
    pair.blue_server.kill()
    time.sleep(0.2)
    pair.blue_server.start()
    before = sum(len(writer.outcomes) for writer in load._writers)
    assert wait_for(lambda: sum(len(writer.outcomes) for writer in load._writers) > before + 50)
    load.stop()
    report = check(tmp_path, pair.blue, ["acme", "globex"])
    assert report.ok, report.violations[:5]
    assert report.acknowledged > 50


def test_bulk_writes_keep_their_rate_and_are_accounted_for(sandbox_pair, tmp_path) -> None:
    pair = sandbox_pair()
    load = Load(config(pair.blue, tmp_path, rate=20, burst={"acme": 4000}, seconds=2))
    load.start()
    load.wait(lambda: False)
    summary = load.stop()
    assert 2000 < summary.burst_rows < 12_000
    assert check(tmp_path, pair.blue, ["acme"]).ok


def test_a_second_load_goes_on_where_the_first_one_was(sandbox_pair, tmp_path) -> None:
    """Claims start from what is there, so both loads' ledgers hold against the same database."""
    pair = sandbox_pair()
    for run in ("first", "second"):
        load = Load(config(pair.blue, tmp_path / run, rate=None, kinds=("increment", "set_status", "use")))
        load.start()
        load.wait(lambda load=load: all(len(writer.outcomes) > 50 for writer in load._writers))
        load.stop()
        report = check(tmp_path / run, pair.blue, ["acme", "globex"])
        assert report.ok, report.violations[:5]


def test_one_tenant_s_trouble_is_told_and_the_load_s_own_defects_are_not_hidden(
    sandbox_pair, tmp_path
) -> None:
    pair = sandbox_pair()
    load = Load(config(pair.blue, tmp_path, rate=None, kinds=("increment",), deadline_s=0.2))
    load.start()
    assert wait_for(lambda: any(writer.outcomes for writer in load._writers))
    load._writers[0]._source = lambda: 1 / 0
    assert wait_for(lambda: not load._writers[0].is_alive())
    with pytest.raises(RuntimeError, match="ended by itself"):
        load.stop()


def test_the_same_seed_draws_the_same_writes() -> None:
    def draw() -> list[tuple]:
        random = Random(5)
        mix = Mix(Hand("acme", 1, random, Text(random), Belongings(["c"], ["k"])))
        drawn = []
        for _ in range(300):
            write = mix.next()
            write.done()
            drawn.append((write.kind, write.statements, write.effects))
        return drawn

    first = draw()
    assert first == draw()
    assert len({kind for kind, _, _ in first}) > 20


def test_kinds_that_do_not_exist_or_cannot_begin_are_refused() -> None:
    hand = Hand("acme", 1, Random(1), Text(Random(1)), Belongings(["c"], ["k"]))
    with pytest.raises(ValueError, match="no kind of write is called fly"):
        Mix(hand, ["increment", "fly"])
    with pytest.raises(ValueError, match="possible without others"):
        Mix(hand, ["delete_document"]).next()


def test_the_configuration_survives_its_json_form(tmp_path) -> None:
    given = config("host=x", tmp_path, burst={"acme": 10}, seconds=1.5, kinds=["use"], first_writer=1000)
    assert dataclasses.asdict(LoadConfig.from_json(given.to_json())) == dataclasses.asdict(given)
