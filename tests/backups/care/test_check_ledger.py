"""The ledger: every byte is seen within the promised time, and a note that was changed is not believed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from care_signing import SIGNS
from tenant_lifecycle.backups.care.ledger import Verified, forget_before, read_ledger, share, write_notes
from tenant_lifecycle.backups.care.objects import Listed
from tenant_lifecycle.backups.contract import Storage

DAY = 86400.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(1, 10_000), st.integers(5, 120)), min_size=1, max_size=60
    ),
    st.integers(3, 40),
)
def test_every_byte_is_opened_within_the_promised_days(
    objects: list[tuple[int, int, int]], within: int
) -> None:
    """Objects come and go on any day; a check runs daily."""
    opened: dict[str, float] = {}
    work = []
    for day in range(130):
        now = day * DAY
        there = [
            Listed(f"o{number}", size, born * DAY)
            for number, (born, size, lives) in enumerate(objects)
            if born <= day < born + lives
        ]
        chosen = share(there, opened, now, within * DAY, DAY)
        work.append(sum(one.size for one in chosen))
        opened |= {one.name: now for one in chosen}
        for one in there:
            assert now - opened.get(one.name, one.modified) <= within * DAY


def test_a_days_share_of_a_steady_repository_is_about_its_part() -> None:
    there = [Listed(f"o{number:04}", 1000, 0.0) for number in range(3000)]
    opened: dict[str, float] = {}
    for day in range(1, 91):
        chosen = share(there, opened, day * DAY, 30 * DAY, DAY)
        assert 100 <= len(chosen) <= 115
        opened |= {one.name: day * DAY for one in chosen}
    assert len(opened) == 3000


def test_the_newest_word_counts_and_what_is_gone_is_not_expected(folder: Storage) -> None:
    first, again = Verified("a", 1, "00", 2), Verified("a", 1, "00", 1)
    write_notes(folder, SIGNS, 1000.0, objects=[first, Verified("b", 2, "11", 2)], bases=[("t/x", "B1")])
    write_notes(folder, SIGNS, 2000.5, objects=[again], gone=["b"])
    ledger = read_ledger(folder, SIGNS)
    assert ledger.objects == {"a": again}
    assert ledger.opened_at == {"a": 1000.0}
    assert ledger.verified_bases("t/x") == ["B1"] and ledger.verified_bases("t/y") == []
    assert [name.split("-")[0] for name in forget_before(folder, 1500.0)] == [f"verify/{1000 * 10**6:017d}"]


def test_thousands_of_objects_make_several_notes(folder: Storage) -> None:
    many = [Verified(f"o{number}", number, "00", 2) for number in range(12_000)]
    assert len(write_notes(folder, SIGNS, 5.0, objects=many, gone=["x"])) == 3
    assert len(read_ledger(folder, SIGNS).objects) == 12_000


def test_a_note_that_was_changed_is_named_and_not_believed(folder: Storage) -> None:
    (name,) = write_notes(folder, SIGNS, 5.0, objects=[Verified("a", 1, "00", 2)])
    data = folder.get(name)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 4
        folder.delete(name)
        folder.put(name, bytes(changed))
        ledger = read_ledger(folder, SIGNS)
        assert ledger.objects == {} and name in ledger.damaged[name]
