"""A proposed map: names say what to try, the data decides, and what is not certain is left to people."""

from collections.abc import Callable

import psycopg
import pytest

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, Root, Shared, Via
from tenant_lifecycle.model.proposal import Edge, Origin, Proposal, Proposed
from tenant_lifecycle.ownership_file import Undecided, loads, render
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.discover import propose
from tenant_lifecycle.stores.postgres.mapcheck import check_map

T = TableName.parse

#: No declared keys at all; numbers everywhere; chats two hops away from a tenant column.
UNDECLARED = """
CREATE TABLE workspaces (id int PRIMARY KEY, name text);
CREATE TABLE people (id int PRIMARY KEY, email text);
CREATE TABLE seats (workspace_id int NOT NULL, person_id int NOT NULL, PRIMARY KEY (workspace_id, person_id));
CREATE TABLE apps (id int PRIMARY KEY, "workspaceId" int NOT NULL, title text);
CREATE TABLE conversations (id int PRIMARY KEY, app_id int NOT NULL);
CREATE TABLE messages (id int PRIMARY KEY, conversation_id int NOT NULL, body text);
CREATE TABLE citations (id int PRIMARY KEY, message_id int, app_id int, position int);
CREATE TABLE categories (id int PRIMARY KEY, label text);
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO workspaces SELECT i, 'w' || i FROM generate_series(1, 10) i;
INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 50) i;
INSERT INTO seats SELECT i % 10 + 1, i FROM generate_series(1, 50) i;
INSERT INTO seats SELECT (i + 1) % 10 + 1, i FROM generate_series(1, 5) i;
INSERT INTO apps SELECT i, i % 10 + 1, 'a' FROM generate_series(1, 60) i;
INSERT INTO conversations SELECT i, i % 60 + 1 FROM generate_series(1, 300) i;
INSERT INTO messages SELECT i, i % 300 + 1, 'hello' FROM generate_series(1, 900) i;
INSERT INTO citations SELECT i, i, (SELECT c.app_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = i), 1 FROM generate_series(1, 400) i;
INSERT INTO categories VALUES (1, 'a'), (2, 'b');
INSERT INTO alembic_version VALUES ('x');
"""


@pytest.fixture
def discover(new_database: Callable[..., str]) -> Callable[[str], Proposal]:
    def run(schema: str) -> Proposal:
        dsn = new_database(18)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(schema.encode())
        database = Database("blue/postgres", "blue", dsn)
        try:
            return propose(database)
        finally:
            database.close()

    return run


def item(proposal: Proposal, table: str) -> Proposed:
    return next(proposed for proposed in proposal.tables if proposed.table == T(table))


def test_a_schema_without_declared_keys_is_understood(discover) -> None:
    proposal = discover(UNDECLARED)
    assert dict(proposal.map.tables) == {
        T("workspaces"): Root("id"),
        T("people"): Shared(T("seats"), "person_id", "id"),
        T("seats"): Direct("workspace_id"),
        T("apps"): Direct("workspaceId"),
        T("conversations"): Via((Hop(("app_id",), T("apps"), ("id",)),)),
        T("messages"): Via((Hop(("conversation_id",), T("conversations"), ("id",)),)),
        T("citations"): item(proposal, "citations").rule,
        T("categories"): Global(),
        T("alembic_version"): Global(),
    }
    assert isinstance(item(proposal, "citations").rule, Via)
    assert not proposal.undecided


def test_a_proposal_can_be_written_read_and_proven(new_database: Callable[..., str]) -> None:
    database = Database("blue/postgres", "blue", new_database(18))
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        conn.execute(UNDECLARED)
    proposal = propose(database)
    text = render(
        proposal.map,
        {p.table: p.comments() for p in proposal.tables},
        [Undecided(p.table, p.comments()) for p in proposal.undecided],
    )
    database.map = loads(text)
    assert database.map == proposal.map
    report = check_map(database)
    database.close()
    assert report.proven
    assert "# confidence 0." in text and "sampled values are found" in text


def test_two_ways_to_one_tenant_confirm_each_other(discover) -> None:
    assert "the tenant agrees in 400 of 400" in " ".join(item(discover(UNDECLARED), "citations").evidence)


def test_a_way_to_another_tenant_is_found_out(discover) -> None:
    """Serial numbers are found in every table of serial numbers; only the tenant tells the ways apart."""
    proposal = discover(
        UNDECLARED
        + """
        ALTER TABLE messages ADD app_id int;
        UPDATE messages SET app_id = id % 60 + 1;
        ALTER TABLE messages ADD workspace_id int;
        UPDATE messages SET workspace_id = CASE WHEN id % 2 = 0 THEN (SELECT a."workspaceId" FROM conversations c
            JOIN apps a ON a.id = c.app_id WHERE c.id = conversation_id) END;
        """
    )
    messages = item(proposal, "messages")
    assert messages.rule is not None
    assert ("app_id",) not in [hop.columns for hop in messages.rule.hops]
    rejected = [said for rule, confidence, said in messages.alternatives if confidence < 0.3]
    assert any(said.startswith("app_id -> public.apps") for said in rejected)


def test_two_ways_that_disagree_are_left_to_people(discover) -> None:
    proposal = discover(UNDECLARED + "UPDATE citations SET app_id = app_id % 60 + 1")
    citations = item(proposal, "citations")
    assert citations.rule is None and "disagree" in citations.evidence[0]
    assert len(citations.alternatives) == 2


def test_a_nullable_way_gets_a_second_one(discover) -> None:
    proposal = discover(
        UNDECLARED
        + "CREATE TABLE notes (id int PRIMARY KEY, message_id int, workspace_id int);"
        + "INSERT INTO notes SELECT i, CASE WHEN i % 3 > 0 THEN i END, CASE WHEN i % 3 = 0 THEN 1 END"
        + " FROM generate_series(1, 300) i"
    )
    rule = item(proposal, "notes").rule
    assert isinstance(rule, Via)
    assert {hop.columns for hop in rule.hops} == {("message_id",), ("workspace_id",)}


def test_declared_keys_are_followed_even_without_rows(discover) -> None:
    proposal = discover(
        "CREATE TABLE org (id uuid PRIMARY KEY);"
        "CREATE TABLE doc (id uuid PRIMARY KEY, owner_org uuid NOT NULL REFERENCES org, org_id uuid REFERENCES org);"
        "CREATE TABLE part (a uuid NOT NULL REFERENCES doc, n int, PRIMARY KEY (a, n))"
    )
    assert isinstance(item(proposal, "org").rule, Root)
    assert isinstance(item(proposal, "doc").rule, Direct)
    assert item(proposal, "part").rule == Via((Hop(("a",), T("doc"), ("id",)),))
    assert "no rows" in item(proposal, "part").evidence[0]


def test_random_ids_are_followed_where_no_name_helps(discover) -> None:
    proposal = discover(
        "CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid());"
        "CREATE TABLE tools (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL);"
        "CREATE TABLE runs (id int PRIMARY KEY, subject uuid NOT NULL, other uuid NOT NULL);"
        "INSERT INTO tenants SELECT FROM generate_series(1, 5);"
        "INSERT INTO tools (tenant_id) SELECT id FROM tenants, generate_series(1, 10);"
        "INSERT INTO runs SELECT row_number() OVER (), id, gen_random_uuid() FROM tools"
    )
    runs = item(proposal, "runs")
    assert runs.rule == Via((Hop(("subject",), T("tools"), ("id",)),))
    assert "by its values" in runs.evidence[0]


def test_a_column_that_only_looks_like_the_tenant_is_not_taken(discover) -> None:
    proposal = discover(
        UNDECLARED
        + "CREATE TABLE oauth (id int PRIMARY KEY, tenant_id text);"
        + "INSERT INTO oauth SELECT i, md5(i::text) FROM generate_series(1, 100) i"
    )
    oauth = item(proposal, "oauth")
    assert oauth.rule is None and "looks like a tenant" in oauth.evidence[0]


def test_the_unsure_is_left_to_people(discover) -> None:
    proposal = discover(
        UNDECLARED
        + "CREATE TABLE attachments (id int PRIMARY KEY, record_type text, record_id int);"
        + "CREATE TABLE sessions (id int PRIMARY KEY, person_id int NOT NULL);"
        + "INSERT INTO attachments VALUES (1, 'Message', 1); INSERT INTO sessions VALUES (1, 1), (2, 2);"
    )
    undecided = {str(proposed.table): proposed.evidence[0] for proposed in proposal.undecided}
    assert "polymorphic" in undecided["public.attachments"]
    assert "may have several tenants" in undecided["public.sessions"]
    text = render(proposal.map, {}, [Undecided(p.table, p.comments()) for p in proposal.undecided])
    assert "# Undecided: public.sessions" in text and T("sessions") not in loads(text).tables


def test_schemas_that_are_alike_become_a_template(discover) -> None:
    schemas = "".join(
        f'CREATE SCHEMA "tenant_{name}" CREATE TABLE docs (id int PRIMARY KEY) CREATE TABLE chats (id int PRIMARY KEY);'
        for name in ("1", "12", "x_y")
    )
    proposal = discover(schemas + "CREATE TABLE plans (id int PRIMARY KEY)")
    assert proposal.schema_template == "tenant_{tenant}"
    assert "3 schemas have the same 2 tables" in proposal.remarks[0]
    assert dict(proposal.map.tables) == {T("plans"): Global()}


def test_without_tenants_nothing_is_guessed(discover) -> None:
    proposal = discover("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a_id int)")
    assert not proposal.map.tables and len(proposal.undecided) == 2
    assert "no table of tenants" in proposal.remarks[0]


def test_two_levels_of_tenants_are_pointed_out(discover) -> None:
    proposal = discover(
        "CREATE TABLE organizations (id text PRIMARY KEY);"
        "CREATE TABLE projects (id text PRIMARY KEY, org_id text NOT NULL);"
        + "".join(f"CREATE TABLE t{i} (id int PRIMARY KEY, project_id text NOT NULL);" for i in range(3))
        + "INSERT INTO organizations VALUES ('o'); INSERT INTO projects VALUES ('p', 'o');"
        + "".join(f"INSERT INTO t{i} SELECT g, 'p' FROM generate_series(1, 30) g;" for i in range(3))
    )
    assert any("two levels" in remark for remark in proposal.remarks)


def test_looking_at_a_big_table_is_bounded(discover) -> None:
    proposal = discover(
        UNDECLARED
        + "INSERT INTO messages SELECT i, i % 300 + 1, repeat('x', 400) FROM generate_series(1000, 120000) i"
    )
    (said,) = item(proposal, "messages").evidence
    assert "of 1000 sampled values" in said


E = Edge(T("c"), Hop(("p_id",), T("p"), ("id",)), Origin.NAME)


@pytest.mark.parametrize(
    ("numbers", "least", "most"),
    [
        ({"sampled": 300, "present": 300, "found": 300, "compared": 300, "agreeing": 300}, 0.95, 1),
        ({"sampled": 300, "present": 300, "found": 300}, 0.8, 0.9),
        ({"sampled": 300, "present": 300, "found": 300, "numbers": True}, 0.6, 0.7),
        ({"sampled": 300, "present": 300, "found": 300, "numbers": True, "telling": 0.5}, 0, 0.59),
        ({"sampled": 300, "present": 300, "found": 300, "compared": 300, "agreeing": 297}, 0.6, 0.97),
        ({"sampled": 300, "present": 300, "found": 300, "compared": 300, "agreeing": 200}, 0, 0.3),
        ({"sampled": 300, "present": 300, "found": 100}, 0, 0.3),
        ({"sampled": 0}, 0.6, 0.7),
        ({"sampled": 300, "present": 300, "found": 300, "origin": Origin.VALUES}, 0.6, 0.7),
    ],
)
def test_confidence_follows_the_evidence(numbers, least: float, most: float) -> None:
    from dataclasses import replace

    assert least <= replace(E, **numbers).confidence <= most
