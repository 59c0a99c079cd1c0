"""``tenantctl map`` from a database without a map to a proven one."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tenant_lifecycle.cli import main
from tenant_lifecycle.ownership_file import json_schema_text

SCHEMA = """
CREATE TABLE tenants (id text PRIMARY KEY);
CREATE TABLE documents (id int PRIMARY KEY, tenant_id text NOT NULL);
CREATE TABLE chunks (id int PRIMARY KEY, document_id int NOT NULL REFERENCES documents);
INSERT INTO tenants VALUES ('a'), ('b');
INSERT INTO documents SELECT i, 'a' FROM generate_series(1, 30) i;
INSERT INTO chunks SELECT i, i FROM generate_series(1, 30) i;
"""


@pytest.fixture
def configured(new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with lifecycle.yaml for one database, and no ownership.yaml yet."""
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)
    (tmp_path / "lifecycle.yaml").write_text(
        "version: 1\nownership: ownership.yaml\nenvironments:\n"
        + "".join(
            f'  {e}: {{stores: {{postgres: {{kind: postgres, dsn: "{dsn}"}}}}}}\n' for e in ("blue", "green")
        )
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_proposal_goes_into_the_file_and_is_proven(configured: Path, capsys) -> None:
    assert main(["map", "discover"]) == 0
    (configured / "ownership.yaml").write_text(capsys.readouterr().out)
    assert main(["map", "check"]) == 0
    said = capsys.readouterr().out
    assert said.count("proven: every row has one owner") == 2 and "public.chunks" in said
    assert main(["map", "show", "-e", "blue"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tenants (root: id)", "└── documents  by tenant_id", "    └── chunks  by document_id",
    ]  # fmt: skip


def test_what_is_not_proven_has_an_exit_code(configured: Path, capsys) -> None:
    (configured / "ownership.yaml").write_text(
        "version: 1\npostgres: {tables: {tenants: {rule: root, column: id}, chunks: {rule: global}}}"
    )
    assert main(["map", "check", "--environment", "blue", "--json"]) == 6
    document = json.loads(capsys.readouterr().out)
    assert document["proven"] is False and list(document["stores"]) == ["blue/postgres"]
    codes = [f["code"] for f in document["stores"]["blue/postgres"]["findings"] if f["severity"] == "refusal"]
    assert codes == ["map.unmapped"]
    assert main(["map", "show", "-e", "blue", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unmapped"] == ["public.documents"]


def test_the_proposal_is_there_as_json(configured: Path, capsys) -> None:
    assert main(["map", "discover", "--json"]) == 0
    tables = {t["table"]: t for t in json.loads(capsys.readouterr().out)["tables"]}
    assert tables["public.chunks"]["rule"] == {
        "rule": "via", "columns": ["document_id"], "parent": "documents", "parent_columns": ["id"],
    }  # fmt: skip
    assert tables["public.chunks"]["confidence"] > 0.9


def test_an_unknown_environment_is_named(configured: Path, capsys) -> None:
    assert main(["map", "discover", "-e", "red"]) == 2
    said = capsys.readouterr().err
    assert "'red'" in said and "blue, green" in said


def test_the_schema_is_printed(capsys) -> None:
    assert main(["map", "schema"]) == 0
    assert capsys.readouterr().out == json_schema_text()
