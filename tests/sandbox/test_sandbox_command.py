"""tenantctl sandbox, as it is typed."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenant_lifecycle.cli.program import main
from tenant_lifecycle.sandbox.environment import Sandbox
from tenant_lifecycle.sandbox.open_items import redis_client


@pytest.fixture
def tenantctl(capsys) -> Iterator[Callable[..., tuple]]:
    """Run a command on a sandbox of the test's own: exit code, and the JSON document or the words."""
    base = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-test-"))
    base.chmod(0o755)

    def run(*arguments: str) -> tuple:
        code = main(["sandbox", *arguments, "--folder", str(base / "box")])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments and code == 0 else out + err

    yield run
    Sandbox.of(base / "box").down(remove=True)
    shutil.rmtree(base)


def test_up_load_status_and_down(tenantctl) -> None:
    code, up = tenantctl("up", "--scale", "0.002", "--blue", "18", "--only", "postgres", "--json")
    assert code == 0
    assert [(one["name"], one["major"]) for one in up["environments"]] == [("blue", 18), ("green", 18)]
    assert Path(up["config"]).exists()
    code, load = tenantctl("load", "--tenant", "o'neill & sons=2", "--for", "1s", "--rate", "100", "--json")
    assert code == 0
    assert load["acknowledged"] > 20
    assert load["lost"] == load["duplicated"] == load["failed"] == 0
    code, status = tenantctl("status", "--json")
    assert all(one["pid"] for one in status["environments"])
    assert tenantctl("down") == (0, "stopped blue/postgres, green/postgres\n")
    code, said = tenantctl("load", "--for", "1s")
    assert code == 2 and "tenantctl sandbox up" in said
    assert tenantctl("down", "--remove", "--json") == (0, {"stopped": [], "removed": True, "next_steps": []})
    assert "no sandbox here" in tenantctl("status")[1]


def test_other_versions_than_the_folders_are_refused_before_anything_is_done(tenantctl) -> None:
    assert tenantctl("up", "--scale", "0.002", "--green-data", "empty", "--only", "postgres")[0] == 0
    code, said = tenantctl("up", "--blue", "18", "--only", "postgres")
    assert code == 2
    assert "blue is PostgreSQL 16 here, not 18" in said and "down --remove" in said


def test_a_number_of_writers_that_is_none_is_refused(tenantctl) -> None:
    assert tenantctl("up", "--scale", "0.001", "--green-data", "empty", "--only", "postgres")[0] == 0
    for wrong in ("acme", "acme=", "=3", "acme=0", "acme=x"):
        code, said = tenantctl("load", "--tenant", wrong, "--for", "1s")
        assert code == 2, wrong
        assert "TENANT=NUMBER" in said


def test_visiting_needs_an_application(tenantctl) -> None:
    assert tenantctl("up", "--scale", "0.001", "--green-data", "empty", "--only", "postgres")[0] == 0
    code, said = tenantctl("visit", "--for", "1s")
    assert code == 2 and "started without the application" in said


def test_a_visit_goes_over_http_and_is_held_against_every_store(box, capsys) -> None:
    arguments = ["sandbox", "visit", "--tenant", "zürich-rück=2", "--for", "2s", "--folder", str(box.folder)]
    code = main([*arguments, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 0, said
    assert said["requests"] > 10
    assert said["failed"] == said["lost"] == said["duplicated"] == said["phantom"] == said["resurrected"] == 0
    with redis_client(box.connections["blue"]["redis"]) as redis:
        whole = redis.dump("events:zürich-rück")
        redis.delete("events:zürich-rück")
        try:
            ledger = ["--ledger", said["ledger"]]
            assert main([*arguments, *ledger, "--rate", "1"]) == 1
            assert "lost: redis:events" in capsys.readouterr().out
        finally:
            redis.restore("events:zürich-rück", 0, whole, replace=True)
