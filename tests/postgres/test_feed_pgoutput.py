"""Every message of the protocol, built by hand, is read as what it says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tenant_lifecycle.errors import FeedError, SourceChanged
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres.feed import pgoutput
from tenant_lifecycle.stores.postgres.feed.collapse import Batch, collapse
from tenant_lifecycle.stores.postgres.feed.intake import Intake
from tenant_lifecycle.stores.postgres.feed.layout import Layout, StreamColumn
from tenant_lifecycle.stores.postgres.feed.owner import Owner
from tenant_lifecycle.stores.postgres.feed.pgoutput import NULL
from tenant_lifecycle.stores.postgres.feed.record import (
    DROP,
    FRESH,
    KNOWN,
    PART,
    PUT,
    REREAD,
    Record,
    decode,
    encode,
)
from tenant_lifecycle.stores.postgres.tables import Table

HEADER = b"w" + bytes(24)
TABLE = (77).to_bytes(4, "big")


def field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def column(value: bytes | str | None) -> bytes:
    """None: NULL; 'u': unchanged; text goes as text."""
    if value is None:
        return b"n"
    if value == "u":
        return b"u"
    return b"t" + field(value.encode()) if isinstance(value, str) else b"b" + field(value)


def row(*values: bytes | str | None) -> bytes:
    return len(values).to_bytes(2, "big") + b"".join(map(column, values))


def relation(
    *names: str, key: str = "id", schema: str = "public", table: str = "docs", identity: bytes = b"d"
) -> bytes:
    columns = b"".join(
        (b"\1" if name == key else b"\0") + name.encode() + b"\0" + struct.pack(">Ii", 25, -1)
        for name in names
    )
    return (
        HEADER + b"R" + TABLE + schema.encode() + b"\0" + table.encode() + b"\0" + identity
        + len(names).to_bytes(2, "big") + columns
    )  # fmt: skip


def begin(lsn: int = 100) -> bytes:
    return HEADER + b"B" + struct.pack(">QqI", lsn, 5, 9)


def commit(lsn: int = 100) -> bytes:
    return HEADER + b"C" + struct.pack(">BQQq", 0, lsn, lsn + 8, 5)


def logical(content: bytes, prefix: bytes = b"tenant_lifecycle", flags: int = 0) -> bytes:
    return HEADER + b"M" + struct.pack(">BQ", flags, 7) + prefix + b"\0" + field(content)


class Kept:
    """A spool that only keeps."""

    def __init__(self) -> None:
        self.position = 0
        self.records: list[Record] = []

    def put(self, record: Record, size: int) -> None:
        self.position = record.position
        self.records.append(record)

    def put_piece(self, record: Record) -> None:
        self.records.append(record)

    def abort_pieces(self) -> None:
        self.records = [record for record in self.records if record.position]


def layout(identity: str = "d", key: tuple[str, ...] = ("id",)) -> Layout:
    table = Table(
        TableName("public", "docs"), 1, "r", (), key, identity, key, (), False, "p", 0, 0, 0
    )  # fmt: skip
    columns = tuple(StreamColumn(n, 25, -1, 25, "b", True, True) for n in ("id", "tenant", "body"))
    return Layout(0, table, columns, key)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def make_intake(kept: Kept, tmp_path: Path, **kind: object) -> Intake:
    one = layout(**kind)  # type: ignore[arg-type]
    owner = Owner([one], tmp_path)
    owner.tests[0] = lambda row: row[1] == field(b"us")
    owner.probes[0] = 2
    return Intake("blue", Feed("tl_x_fwd", TenantId("us"), 1), [one], owner, kept)


@pytest.fixture
def intake(kept: Kept, tmp_path: Path) -> Intake:
    intake = make_intake(kept, tmp_path)
    intake.take(relation("id", "tenant", "body"))
    return intake


def take(intake: Intake, *messages: bytes) -> None:
    for message in messages:
        intake.take(message)


KEY = b"\0\1" + field(b"1")


def test_rows_become_copy_rows_without_being_decoded(intake: Intake, kept: Kept) -> None:
    take(
        intake,
        begin(),
        HEADER + b"O" + struct.pack(">Q", 1) + b"origin\0",
        HEADER + b"Y" + TABLE + b"public\0mood\0",
        HEADER + b"I" + TABLE + b"N" + row(b"1", b"us", b"\0\xff"),
        HEADER + b"I" + TABLE + b"N" + row(b"2", b"them", b"x"),
        HEADER + b"U" + TABLE + b"N" + row(b"1", b"us", None),
        HEADER + b"U" + TABLE + b"N" + row(b"1", b"us", "u"),
        HEADER + b"U" + TABLE + b"N" + row(b"2", b"them", "u"),
        HEADER + b"U" + TABLE + b"K" + row(b"1", None, None) + b"N" + row(b"3", b"us", "text"),
        HEADER + b"D" + TABLE + b"K" + row(b"9", None, None),
        commit(),
    )
    (record,) = kept.records
    body = field(b"1") + field(b"us")
    assert record.changes == [
        (PUT, 0, KEY, body + field(b"\0\xff"), FRESH),
        (PUT, 0, KEY, body + NULL, 0),
        (PART, 0, KEY, body + NULL, 0b011),
        (DROP, 0, KEY, field(b"1") + NULL * 2, 0),
        (PUT, 0, b"\0\1" + field(b"3"), field(b"3") + field(b"us") + field(b"text"), FRESH),
        (DROP, 0, b"\0\1" + field(b"9"), field(b"9") + NULL * 2, 0),
    ]
    assert (record.position, record.committed, record.count) == (108, 100, 6)


def test_with_whole_old_rows_the_old_row_decides_and_completes(kept: Kept, tmp_path: Path) -> None:
    intake = make_intake(kept, tmp_path, identity="f")
    take(
        intake,
        relation("id", "tenant", "body", identity=b"f"),
        begin(),
        HEADER + b"U" + TABLE + b"O" + row(b"1", b"us", b"long") + b"N" + row(b"1", b"us", "u"),
        HEADER + b"D" + TABLE + b"O" + row(b"2", b"them", b"x"),
        HEADER + b"D" + TABLE + b"O" + row(b"1", b"us", b"long"),
        commit(),
    )
    assert kept.records[0].changes == [
        (PUT, 0, KEY, field(b"1") + field(b"us") + field(b"long"), 0),
        (DROP, 0, KEY, field(b"1") + NULL * 2, 0),
    ]
    with pytest.raises(SourceChanged, match="changed tenant"):
        take(
            intake,
            begin(200),
            HEADER + b"U" + TABLE + b"O" + row(b"1", b"us", b"") + b"N" + row(b"1", b"them", b""),
        )


def test_a_transaction_that_begins_with_our_row_is_skipped_whole(intake: Intake, kept: Kept) -> None:
    ours = relation("feed", "lane", schema="tenant_lifecycle", table="applied").replace(TABLE, b"\0\0\0\x42")
    update = HEADER + b"U\0\0\0\x42N" + row(b"f", b"stream")
    insert = HEADER + b"I" + TABLE + b"N" + row(b"1", b"us", b"x")
    take(intake, begin(), ours, update, insert, commit())
    assert kept.records == []
    assert intake.reached == 108
    take(intake, begin(200), insert, update, commit(200))
    assert len(kept.records[0].changes) == 1, "only a transaction that begins so is ours"


def test_what_was_received_before_is_not_taken_again(intake: Intake, kept: Kept) -> None:
    insert = HEADER + b"I" + TABLE + b"N" + row(b"1", b"us", b"x")
    take(intake, begin(100), insert, commit(100))
    intake.restart(108)
    take(
        intake,
        relation("id", "tenant", "body"),
        begin(100),
        insert,
        commit(100),
        begin(108),
        insert,
        commit(108),
    )
    assert [record.position for record in kept.records] == [108, 116]


def test_markers_are_ours_or_nobodys(intake: Intake, kept: Kept) -> None:
    take(intake, logical(b"tl_x_fwd:1"), logical(b"tl_other:1"), logical(b"tl_x_fwd:2", prefix=b"app"))
    take(intake, begin(), logical(b"tl_x_fwd:3", flags=1), commit())
    assert [record.markers for record in kept.records] == [["tl_x_fwd:1"], ["tl_x_fwd:3"]]


def test_a_row_that_changes_tenant_stops_only_those_concerned(intake: Intake) -> None:
    note = b'{"tenants": ["%s"], "table": "public.docs"}'
    take(intake, begin(), logical(note % b"them", b"tenant_lifecycle.rehome", 1), commit())
    with pytest.raises(SourceChanged, match=r"row\(s\) of public.docs changed tenant during the move"):
        take(intake, begin(200), logical(note % b"us", b"tenant_lifecycle.rehome", 1))
    with pytest.raises(FeedError):
        take(intake, begin(300), logical(b"[]", b"tenant_lifecycle.rehome", 1))


def test_truncate_stops_the_feed(intake: Intake) -> None:
    with pytest.raises(SourceChanged, match=r"public.docs was truncated"):
        take(intake, begin(), HEADER + b"T" + struct.pack(">IB", 1, 0) + TABLE)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("id", "tenant"), "column body of public.docs"),
        (("id", "tenant", "body", "extra"), "column extra of public.docs"),
        (("id", "tenant", "text"), "column body of public.docs"),
    ],
)
def test_other_columns_than_at_the_start_stop_the_feed(
    intake: Intake, names: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SourceChanged, match=says):
        intake.take(relation(*names))


def test_an_unknown_message_is_refused(intake: Intake) -> None:
    with pytest.raises(FeedError):
        intake.take(HEADER + b"?")


def test_a_large_transaction_comes_in_pieces_and_is_forgotten_when_it_is_cut(
    intake: Intake, kept: Kept
) -> None:
    insert = HEADER + b"I" + TABLE + b"N" + row(b"1", b"us", b"x" * 100_000)
    take(intake, begin(), *[insert] * 100)
    assert len(kept.records) == 2 and not any(record.position for record in kept.records)
    intake.restart(0)
    assert kept.records == []
    take(intake, relation("id", "tenant", "body"), begin(), *[insert] * 100, commit())
    assert kept.records[-1].count == 100


def test_the_last_state_of_a_row_is_what_counts() -> None:
    one = layout()
    us = field(b"us")

    def state(*changes: tuple[int, bytes, int]) -> tuple[int, bytes, int] | None:
        batch = Batch()
        collapse([one], [(kind, 0, KEY, body, mask) for kind, body, mask in changes], batch, 0, {})
        kind, _, _, body, mask = batch.states[0][KEY]
        return kind, body, mask

    whole, part = field(b"1") + us + field(b"old"), field(b"1") + us + NULL
    # What was put was the tenant's, whoever saw it go.
    assert state((PUT, whole, 0), (DROP, b"", 0)) == (DROP, b"", KNOWN)
    assert state((PART, part, 0b011), (DROP, b"", 0)) == (DROP, b"", KNOWN)
    assert state((REREAD, part, 0), (DROP, b"", 0)) == (DROP, b"", 0)
    assert state((DROP, b"", 0), (PUT, whole, 0)) == (PUT, whole, 0)
    assert state((PUT, whole, 0), (PART, part, 0b011)) == (PUT, whole, 0)
    assert state((PART, part, 0b011), (PART, field(b"1") + NULL + field(b"new"), 0b101)) == (
        PART, field(b"1") + us + field(b"new"), 0b111,
    )  # fmt: skip
    assert state((DROP, b"", 0), (PART, part, 0b011)) == (REREAD, part, 0)
    assert state((PART, part, 0b011), (PUT, whole, 0)) == (PUT, whole, 0)
    # The first change says whether the target has the row.
    assert state((PUT, whole, FRESH), (PUT, whole, 0)) == (PUT, whole, FRESH)
    assert state((PUT, whole, FRESH), (PART, part, 0b011)) == (PUT, whole, FRESH)
    assert state((PUT, whole, FRESH), (DROP, b"", 0), (PUT, whole, FRESH)) == (PUT, whole, FRESH)
    assert state((DROP, b"", 0), (PUT, whole, FRESH)) == (PUT, whole, 0)
    assert state((DROP, b"", KNOWN), (PUT, whole, FRESH), (DROP, b"", KNOWN)) == (DROP, b"", KNOWN)


def test_changes_without_a_key_before_the_copy_are_left_out() -> None:
    one = layout("f", ())
    batch = Batch()
    for committed in (10, 20):
        collapse(
            [one],
            [(PUT, 0, b"", b"a", 0), (PUT, 0, b"", b"a", 0), (DROP, 0, b"", b"b", 0)],
            batch,
            committed,
            {0: 20},
        )
    assert batch.copies == {0: {b"a": 2, b"b": -1}}


def test_a_record_survives_the_way_to_disk_and_back() -> None:
    record = Record(
        5, 4, 1.5, [(PUT, 3, KEY, b"row", 0), (PART, 65535, b"", b"", 1 << 1599)], ["m:1", "ü"], True, None, 2
    )
    assert decode(encode(record)) == (record, True)
    assert decode(encode(record, last=False))[1] is False


def test_fields_end_where_the_next_begins() -> None:
    data = b"??" + row(b"a", None, "u", b"")[2:] + b"!"
    assert pgoutput.fields(data, 2, 4) == ([field(b"a"), NULL, None, field(b"")], len(data) - 1)
