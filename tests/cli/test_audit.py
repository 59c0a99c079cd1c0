"""``tenantctl audit`` over a real control database."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.cli.program import main
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.entries import Entry, Happening
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.merkle import consistency_holds, root_of
from tenant_lifecycle.model.operation import NewOperation
from tenant_lifecycle.wiring.checkpoints import signing

TENANT = "acme'; DROP TABLE x \x1b[31m"


class Place:
    """A folder with a configuration, a control database and a key."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], key: bool = True) -> None:
        self.folder = folder
        self._capsys = capsys
        self.file = folder / "lifecycle.yaml"
        section = "evidence: {origin: example.com/audit, keys: {log: {file: log.pem}}}\n" if key else ""
        self.file.write_text(
            "version: 1\ncontrol: {database: control.db}\n"
            "environments: {blue: {stores: {postgres: {kind: postgres, dsn: 'host=127.0.0.1 port=1'}}}}\n"
            + section
        )
        if key:
            LocalSigner.generate(Role.LOG).write(folder / "log.pem")
        self.db = ControlDatabase(folder / "control.db")
        upgrade(self.db)
        self.operation = Operations(self.db).create(
            NewOperation("migrate", "m@1", TENANT, "anna", reason="r")
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        self._capsys.readouterr()
        code = main(["--config", str(self.file), "audit", *arguments])
        captured = self._capsys.readouterr()
        return code, captured.out + captured.err

    def json(self, *arguments: str) -> dict[str, Any]:
        code, text = self.run(*arguments, "--json")
        assert code == 0, text
        document: dict[str, Any] = json.loads(text)
        return document


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def test_list_and_tail_show_what_was_done_and_not_to_whom(place: Place) -> None:
    Operations(place.db).pause(place.operation.id, actor="berta", reason="lunch with Bob")
    code, text = place.run("list")
    assert code == 0
    assert "created" in text and "pause_requested" in text and "anna" in text and place.operation.id in text
    assert "acme" not in text and "Bob" not in text and "\x1b" not in text
    found = place.json("tail", "--limit", "1")["entries"]
    assert [one["type"] for one in found] == ["pause_requested"]
    assert place.json("list", "--operation", "op_none")["entries"] == []
    assert [one["seq"] for one in place.json("list", "--after", "0")["entries"]] == [1]


def test_verify_says_what_it_compared_and_fails_for_a_cut_off_end(place: Place) -> None:
    code, text = place.run("verify")
    assert code == 0 and "no head was ever signed" in text
    folder = place.folder / "kept"
    place.json("export", str(folder))
    head = str(folder / "head.checkpoint")
    assert place.json("verify", "--head", head)["alarms"] == []
    with place.db.writing() as conn:
        for name in ("audit_entry_stays", "audit_checkpoint_stays"):
            conn.exec_driver_sql(f"DROP TRIGGER {name}")
        conn.exec_driver_sql("DELETE FROM audit_entry")
        conn.exec_driver_sql("DELETE FROM audit_checkpoint")
    code, text = place.run("verify", "--head", head)
    assert code == 9 and "ALARM    truncated" in text


def test_verify_refuses_a_strangers_head(place: Place) -> None:
    log = AuditLog(place.db, "example.com/audit", LocalSigner.generate(Role.LOG))
    stranger = place.folder / "stranger"
    stranger.write_text(notes.sign_head(log.head(), LocalSigner.generate(Role.LOG)))
    code, text = place.run("verify", "--head", str(stranger))
    assert code == 9 and "not signed by the log's key" in text
    assert place.run("verify", "--head", str(place.folder / "nowhere"))[0] == 2


def test_an_export_can_be_checked_without_the_database(place: Place) -> None:
    first = place.json("export", str(place.folder / "one"))
    Operations(place.db).pause(place.operation.id, actor="berta")
    folder = place.folder / "two"
    second = place.json("export", str(folder), "--since", str(first["size"]))
    key = LocalSigner.from_file(Role.LOG, place.folder / "log.pem").public
    old, new = (
        notes.read_head((place.folder / name / "head.checkpoint").read_text(), "example.com/audit", key)
        for name in ("one", "two")
    )
    lines = [json.loads(line) for line in (folder / "entries.jsonl").read_text().splitlines()]
    assert len(lines) == second["size"] == new.size == old.size + 1
    assert root_of([Entry.parse(line["leaf"].encode()).hash() for line in lines]) == new.root
    proof = [notes._unb64(line) for line in (folder / "consistency.txt").read_text().split()]
    assert consistency_holds(old.size, new.size, old.root, new.root, proof)
    assert all("opening" not in line for line in lines), "names go out only if they are asked for"
    named = place.folder / "named"
    place.json("export", str(named), "--openings")
    assert json.loads((named / "entries.jsonl").read_text().splitlines()[0])["opening"]["tenant"] == TENANT
    assert place.run("export", str(named))[0] == 2
    assert place.run("export", str(place.folder / "three"), "--since", "99")[0] == 2
    assert not (place.folder / "three").exists()


def test_redact_needs_a_reason_and_leaves_proofs_alone(place: Place) -> None:
    place.json("export", str(place.folder / "kept"))
    assert place.run("redact", place.operation.id)[0] == 2
    assert place.json("redact", place.operation.id, "--reason", "claims have lapsed")["redacted"] == 1
    found = place.json("verify", "--head", str(place.folder / "kept" / "head.checkpoint"))
    assert (found["redacted"], found["alarms"]) == (1, [])
    assert place.run("redact", place.operation.id, "--reason", "again")[0] == 3


def test_without_a_key_nothing_is_exported_and_the_way_out_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, capsys, key=False)
    code, text = place.run("export", str(tmp_path / "out"))
    assert code == 2 and "audit new-key" in text
    assert place.json("verify")["size"] == 1


def test_a_new_key_is_never_put_over_another(place: Place) -> None:
    made = place.json("new-key", str(place.folder / "new.pem"))
    assert LocalSigner.from_file(Role.LOG, place.folder / "new.pem").public.keyid == made["keyid"]
    assert place.run("new-key", str(place.folder / "new.pem"))[0] == 2


def test_a_worker_signs_heads_as_it_goes_and_at_its_end(place: Place) -> None:
    log = AuditLog(place.db, "example.com/audit", LocalSigner.generate(Role.LOG))
    signed = threading.Event()
    with signing(log, every_s=0.01):
        for _ in range(500):
            if log.newest_checkpoint() is not None:
                break
            signed.wait(0.01)
        log.append(Happening("asked", "anna"))
    newest = log.newest_checkpoint()
    assert newest is not None and newest.size == log.head().size == 2
