"""The gate finds every planted value where masking failed, and nothing where it did not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest

from masking.corpus import (
    TARGET,
    TENANT,
    Corpus,
    masked,
    object_item,
    prepared,
    sample,
    vector_item,
)
from masking.plants import EACH, PLACES, planted
from masking.test_masker import dangling
from tenant_lifecycle.evidence import dsse
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.masking.canaries import Canary
from tenant_lifecycle.masking.gate import Gate, SetItems, check
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.report import GateReport
from tenant_lifecycle.masking.spellings import wilson
from tenant_lifecycle.masking.sweep import Sweep

Sides = tuple[Corpus, Corpus, Masker, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def sides() -> Sides:
    """Source with plants, its clone, the masker, the plants."""
    source, plants = planted(sample())
    made = prepared(source)
    return source, masked(source, made), made, plants


def gated(made: Masker, source: Corpus, clone: Corpus, **more: object) -> GateReport:
    return check(made, [SetItems(*one) for one in source], [SetItems(*one) for one in clone], **more)  # type: ignore[arg-type]


def test_a_masked_clone_of_a_tenant_full_of_plants_passes(sides: Sides) -> None:
    source, clone, made, plants = sides
    assert len(plants) == len(PLACES) * EACH >= 200
    report = gated(made, source, clone)
    assert report.leaks == () and report.passed, report.document()
    assert dangling(clone) == []
    names = next(kind for kind in report.kinds if kind.kind == "name")
    assert names.values >= 230 and names.leaked == 0 and names.at_most() <= 3 / 230
    assert (
        report.vectors == len(clone.rows("chunks")) + len(clone.sets["vectors", "libraries"][1])
        and report.characters > 200_000
    )


def test_every_planted_value_is_found_where_nothing_was_masked(sides: Sides) -> None:
    source, _, made, plants = sides
    sweep = Sweep()
    handles = {value: sweep.learn("email" if "@" in value else "name", value) for _, value in plants}
    sweep.seal()
    gate = Gate(made)
    for one in source:
        gate.learn(*one)
    found: set[str] = set()
    for store, shape, items in source:
        if (store, shape.set) == ("postgres", "users"):
            continue
        for item in items:
            for field in gate._texts.fields(store, shape, item):
                found |= {hit.handle for hit in sweep.look(field.text)}
    missed = [place for place, value in plants if handles[value].handle not in found]  # type: ignore[union-attr]
    assert missed == []


def leak_body(clone: Corpus, value: str) -> None:
    clone.change("documents", 3, body=f"it was {value} who")


def leak_json(clone: Corpus, value: str) -> None:
    clone.change("documents", 3, meta=json.dumps({"v": 0, "deep": [{"er": {"x": value.upper()}}]}))


def leak_base64(clone: Corpus, value: str) -> None:
    clone.change("messages", 3, content=f"x {base64.b64encode(f'by {value}!'.encode()).decode()}")


def leak_hex(clone: Corpus, value: str) -> None:
    clone.change("messages", 3, content=f"0x{value.encode().hex()}")


def leak_escaped(clone: Corpus, value: str) -> None:
    clone.change("messages", 3, content="".join(f"\\u{ord(c):04x}" for c in value))


def leak_kept_column(clone: Corpus, value: str) -> None:
    clone.change("memberships", 1, role=value)


def leak_file_name(clone: Corpus, value: str) -> None:
    name = f"documents/{TARGET}/{value.replace(' ', '-')}.txt"
    clone.sets["objects", "documents"][1].append(object_item(name, b"", "t"))


def leak_payload(clone: Corpus, value: str) -> None:
    row = clone.rows("documents")[0]
    clone.sets["vectors", "libraries"][1].append(
        vector_item(str(row["collection_id"]), str(row["id"]), 99, [1.0] * 32, by=value)
    )


LEAKS: list[Callable[[Corpus, str], None]] = [
    leak_body, leak_json, leak_base64, leak_hex, leak_escaped, leak_kept_column, leak_file_name, leak_payload,
]  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_one_leaked_value_fails_the_clone(sides: Sides, leak: Callable[[Corpus, str], None]) -> None:
    source, clone, made, plants = sides
    clone = clone.copy()
    name = next(value for _, value in plants if "@" not in value)
    leak(clone, name)
    report = gated(made, source, clone)
    assert not report.passed
    assert any(one.what == "value" and one.kind == "name" for one in report.leaks)
    assert name not in json.dumps(report.document()) and name.split()[1] not in json.dumps(report.document())


def failing(sides: Sides, change: Callable[[Corpus], None], **more: object) -> GateReport:
    source, clone, made, _ = sides
    clone = clone.copy()
    change(clone)
    report = gated(made, source, clone, **more)
    assert not report.passed
    return report


def test_a_vector_of_the_source_fails_the_clone(sides: Sides) -> None:
    vector = sides[0].rows("chunks")[5]["embedding"]
    report = failing(sides, lambda clone: clone.change("chunks", 5, embedding=vector))
    assert [(one.what, one.where) for one in report.leaks] == [("vector", "postgres chunks")]


def test_the_old_tenants_id_fails_the_clone(sides: Sides) -> None:
    report = failing(sides, lambda clone: clone.change("notes", 0, tenant_id=TENANT))
    assert ("value", "tenant") in {(one.what, one.kind) for one in report.leaks}


@pytest.mark.parametrize(("text", "kind"), [
    ("write to somebody@gmail.com", "email"), ("pay with 4929 1234 5678 9015", "card"), ("call +49 30 901820", "phone"),
    ("to DE89 3704 0044 0532 0130 00", "iban"), ("from 8.8.8.8", "ip"), ("at https://api.stripe.com/v1", "url"),
    ("key sk-live-abcdefghijklmnop1234", "secret"), ("ssn 536-90-4399", "national_id"), ("mac 3c:22:fb:12:34:56", "mac"),
])  # fmt: skip
def test_what_may_be_somebodys_fails_the_clone_though_the_source_never_had_it(
    sides: Sides, text: str, kind: str
) -> None:
    report = failing(sides, lambda clone: clone.change("notes", 0, body=text))
    assert [(one.what, one.kind, one.where) for one in report.leaks] == [
        ("form", kind, "postgres notes.body")
    ]


def test_a_host_of_production_fails_the_clone(sides: Sides) -> None:
    report = failing(
        sides,
        lambda clone: clone.change("notes", 0, body="on DB7.prod.internal now"),
        hosts=["db7.prod.internal"],
    )
    assert [one.what for one in report.leaks] == ["host"]


def test_broken_structure_fails_the_clone(sides: Sides) -> None:
    def orphan(clone: Corpus) -> None:
        clone.change("messages", 0, conversation_id="00000000-0000-4000-8000-00000000dead")

    def double(clone: Corpus) -> None:
        clone.change("users", 1, email=clone.rows("users")[0]["email"])

    def lost(clone: Corpus) -> None:
        clone.sets["postgres", "notes"][1].pop()

    for change, check_ in ((orphan, "references"), (double, "keys"), (lost, "counts")):
        report = failing(sides, change)
        assert [one.name for one in report.checks if not one.passed] == [check_]


def test_bytes_that_cannot_be_read_fail_the_clone(sides: Sides) -> None:
    name = f"documents/{TARGET}/00000000-0000-4000-8000-000000000000.txt"
    report = failing(
        sides,
        lambda clone: clone.sets["objects", "documents"][1].append(object_item(name, b"\xff\xd8\xff", "t")),
    )
    assert "unreadable" in {one.what for one in report.leaks}


@pytest.fixture
def canaries(sides: Sides) -> Iterator[list[Canary]]:
    name = next(value for place, value in sides[3] if "@" not in value and place == "body")
    yield [Canary("canary/1", "name", name)]


def test_canaries_must_be_gone_and_their_pseudonyms_there(sides: Sides, canaries: list[Canary]) -> None:
    source, clone, made, _ = sides
    assert gated(made, source, clone, canaries=canaries).passed
    stranger = [Canary("canary/2", "name", "Nobody Ofthisname")]
    problems = gated(made, source, clone, canaries=stranger).checks[0].problems
    assert "canary/2 was not in the source: nothing is proved by it" in problems
    emptied = clone.copy()
    for (_store, name), (_, items) in emptied.sets.items():
        if name in ("users", "documents", "chunks"):
            items.clear()
    assert (
        "the pseudonym of canary/1 is not in the clone"
        in gated(made, source, emptied, canaries=canaries).checks[0].problems
    )


def test_a_short_tenant_id_is_only_looked_for_as_a_whole_field() -> None:
    sweep = Sweep()
    assert sweep.learn("tenant", "1") is None and sweep.too_short == {"tenant": 1}
    sweep.seal()
    assert sweep.look("room 1") == set() and sweep.whole("1") is not None


def test_a_name_that_is_a_word_needs_its_other_half() -> None:
    sweep = Sweep()
    sweep.learn("name", "Grace Hill")
    sweep.seal()
    assert not sweep.look("a Grace period on the Hill")
    assert sweep.look("signed: grace hill") and sweep.look("GraceHill.pdf") and sweep.look("HILL, Grace Hill")


def test_the_report_can_be_signed_and_says_how_sure_it_is(sides: Sides) -> None:
    source, clone, made, _ = sides
    report = gated(made, source, clone)
    signer = LocalSigner.generate(Role.VERIFIER)
    envelope = json.loads(report.signed(lambda kind, payload: dsse.envelope(kind, payload, [signer])))
    payload = base64.b64decode(envelope["payload"])
    assert signer.public.verifies(
        base64.b64decode(envelope["signatures"][0]["sig"]), dsse.pae(envelope["payloadType"], payload)
    )
    told = json.loads(payload)
    assert told["passed"] is True and told["target"] == TARGET
    for kind in told["kinds"]:
        assert kind["found"] == kind["tried"], kind
        assert kind["recall_95"][0] > 0.7
    assert wilson(0, 0) == (0.0, 1.0) and wilson(100, 100)[0] == pytest.approx(0.963, abs=0.001)
