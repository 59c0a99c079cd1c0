"""A whole tenant masked: nothing of its people is left, and everything that belongs together still does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from masking.corpus import (
    FORMS,
    TARGET,
    TENANT,
    Corpus,
    masked,
    masker,
    prepared,
    sample,
    sandbox_registry,
    text_key,
    vector_item,
)
from tenant_lifecycle.errors import PreconditionRefused, UsageError, WrongState
from tenant_lifecycle.masking.gate import SetItems, check
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.modes import Mode, data_types
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.findings import refusals


@pytest.fixture(scope="module")
def source() -> Corpus:
    return sample()


@pytest.fixture(scope="module")
def made(source: Corpus) -> Masker:
    return prepared(source)


@pytest.fixture(scope="module")
def clone(source: Corpus, made: Masker) -> Corpus:
    return masked(source, made)


def test_every_reference_leads_somewhere_and_every_key_is_unique(source: Corpus, clone: Corpus) -> None:
    assert dangling(source) == dangling(clone) == []
    for (store, name), (_, items) in clone.sets.items():
        assert len({item.key for item in items}) == len(items) == len(source.sets[store, name][1]), name
    emails = [row["email"] for row in clone.rows("users")]
    assert len(set(emails)) == len(emails)
    slugs = [(row["tenant_id"], row["slug"]) for row in clone.rows("collections")]
    assert len(set(slugs)) == len(slugs)


def dangling(corpus: Corpus) -> list[str]:
    """References of the registry that lead nowhere."""
    found = []
    for name, rules in sandbox_registry().stores["postgres"].items():
        if ("postgres", name) not in corpus.sets:
            continue
        for column, target in rules.references.items():
            parent, _, key = target.rpartition(".")
            known = {row[key] for row in corpus.rows(parent)}
            found += [
                f"{name}.{column}"
                for row in corpus.rows(name)
                if row[column] is not None and row[column] not in known
            ]
    return found


def test_the_same_document_is_the_same_in_rows_vectors_and_objects(clone: Corpus) -> None:
    documents = {str(row["id"]): row for row in clone.rows("documents")}
    for item in clone.sets["vectors", "libraries"][1]:
        opened = FORMS["vectors"].opened(item)
        document = opened.content["metadata"]["document"]
        assert opened.names["id"].startswith(f"{document}#")
        assert opened.names["namespace"] == f"library-{documents[document]['collection_id']}"
    for item in clone.sets["objects", "documents"][1]:
        opened = FORMS["objects"].opened(item)
        id = opened.names["key"].removeprefix(f"documents/{TARGET}/").removesuffix(".txt")
        assert opened.content["content"].decode() == documents[id]["body"]


def test_vectors_are_those_of_the_masked_chunk_and_none_is_the_sources(source: Corpus, clone: Corpus) -> None:
    rows = {
        (str(row["document_id"]), str(row["ordinal"])): str(row["embedding"]) for row in clone.rows("chunks")
    }
    for item in clone.sets["vectors", "libraries"][1]:
        opened = FORMS["vectors"].opened(item)
        told = opened.content["metadata"]
        row = [float(one) for one in rows[told["document"], str(int(told["ordinal"]))][1:-1].split(",")]
        assert opened.content["vectors"][""] == pytest.approx(row, abs=1e-6)
    assert not {row["embedding"] for row in source.rows("chunks")} & {
        row["embedding"] for row in clone.rows("chunks")
    }


def test_a_person_is_the_same_person_in_columns_prose_json_and_names(source: Corpus) -> None:
    changed = source.copy()
    changed.change("users", 0, full_name="Ada Bauer", email="ada.bauer@corp.example.net")
    prose = (
        "Ada Bauer wrote to ada.bauer@corp.example.net. BAUER, ADA signed; later A. Bauer agreed, as did Ada."
    )
    changed.change(
        "documents", 0, body=prose, meta=json.dumps({"v": 0, "source": "upload/bauer_ada_contract.pdf"})
    )
    made = prepared(changed)
    clone = masked(changed, made)
    name, email = str(clone.rows("users")[0]["full_name"]), str(clone.rows("users")[0]["email"])
    given, family = name.split()
    body = str(clone.rows("documents")[0]["body"])
    assert (
        body
        == f"{name} wrote to {email}. {family.upper()}, {given.upper()} signed; later {given[0]}. {family} agreed, as did {given}."
    )
    assert f"upload/{family}, {given}_contract.pdf" in str(clone.rows("documents")[0]["meta"])


def test_the_tenant_is_another_one_everywhere(clone: Corpus) -> None:
    for _, _, items in clone:
        for item in items:
            for part in (item.key, *item.cells):
                assert part is None or TENANT.encode() not in part.replace(TARGET.encode(), b"")
                assert part is None or b"Acme Manufacturing" not in part


def test_the_same_key_makes_the_same_clone_and_another_key_another(source: Corpus, clone: Corpus) -> None:
    again, other = masked(source, prepared(source)), masked(source, prepared(source, master=b"o" * 32))
    assert again.sets == clone.sets
    for table in ("users", "documents", "messages"):
        ours, theirs = clone.rows(table), other.rows(table)
        assert not {row["id"] for row in ours} & {row["id"] for row in theirs} or table == "messages"
    assert [row["id"] for row in clone.rows("messages")] != [row["id"] for row in other.rows("messages")]
    assert {row["full_name"] for row in clone.rows("users")} != {
        row["full_name"] for row in other.rows("users")
    }


def test_generated_columns_are_left_to_the_store() -> None:
    shape = Shape(
        "notes",
        (*sample(0.0001).sets["postgres", "notes"][0].columns, Column("words", "tsvector", generated=True)),
        ("id",),
    )
    corpus = sample(0.0001)
    _, items = corpus.sets["postgres", "notes"]
    corpus.sets["postgres", "notes"] = (
        shape,
        [replace(item, cells=(*item.cells, b"'ada':1")) for item in items],
    )
    clone = masked(corpus, prepared(corpus))
    assert {row["words"] for row in clone.rows("notes")} == {None}


def test_what_has_no_rule_stops_the_clone_and_is_named_without_its_content() -> None:
    corpus = sample(0.0001)
    shape, items = corpus.sets["postgres", "notes"]
    wider = [replace(item, cells=(*item.cells, b"1")) for item in items]
    corpus.sets["postgres", "notes"] = (
        Shape("notes", (*shape.columns, Column("ssn", "text")), shape.key),
        wider,
    )
    corpus.change("api_keys", 0, label="fine")
    corpus.add("redis", Shape("carts", (), ()), [])
    corpus.sets["redis", "sessions"][1].append(text_key("sessions", "session:Ada Bauer", "{}"))
    corpus.sets["redis", "sessions"][1].append(text_key("sessions", f"session:{TENANT}:x", "Ada Bauer"))
    made = masker()
    for store, shape, items in corpus:
        made.prepare(store, shape, items)
    with pytest.raises(PreconditionRefused) as refused:
        made.ready()
    told = {finding.message for finding in refused.value.findings}
    for place in (
        "postgres notes.ssn",
        "redis carts",
        "redis sessions: a key that has not the form",
        "redis sessions.value (not JSON)",
    ):
        assert any(message.startswith(place) for message in told), place
    assert not any("Ada" in message for message in told)
    proposed = next(
        one.next_step for one in refused.value.findings if one.message.startswith("postgres notes.ssn")
    )
    assert "proposed is it: {class: direct, kind: national_id} (is called ssn)" in proposed
    assert [
        f.code for f in refusals(made.findings("postgres", {"notes": corpus.sets["postgres", "notes"][0]}))
    ] == ["masking.unclassified"]


def test_a_rule_that_keeps_what_is_somebodys_stops_the_clone() -> None:
    corpus = sample(0.0001)
    for at in range(len(corpus.rows("memberships"))):
        corpus.change("memberships", at, role=f"person{at}@corp.example")
    with pytest.raises(PreconditionRefused) as refused:
        prepared(corpus)
    assert [one.code for one in refused.value.findings] == ["masking.too-mild"]


def test_masking_before_looking_through_is_refused(source: Corpus) -> None:
    store, shape, items = next(iter(source))
    with pytest.raises(WrongState):
        list(masker().mask(store, shape, items))


@pytest.mark.parametrize(("target", "says"), [
    (Target(TENANT, TENANT), "id of its own"), (Target(TENANT, ""), "id of its own"),
    (Target(TENANT, TARGET, email_domain="testdomain.com"), "may be somebody's"), (Target(TENANT, TARGET, k=1), "hides nobody"),
])  # fmt: skip
def test_a_target_that_would_leak_is_refused(target: Target, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Masker(sandbox_registry(), MaskingKey(b"k" * 32, TENANT, TARGET), target)


def test_a_domain_that_is_owned_may_be_used(source: Corpus) -> None:
    target = Target(TENANT, TARGET, email_domain="testdomain.com", email_domain_owned=True)
    made = Masker(sandbox_registry(), MaskingKey(b"k" * 32, TENANT, TARGET), target)
    assert made.pseudonym("email", "ada@corp.example").endswith("@testdomain.com")


def test_modes_leave_out_what_they_say(source: Corpus) -> None:
    def made(mode: Mode) -> Corpus:
        return masked(source, prepared(source, types=data_types(mode)))

    configs, metadata, nothing = (
        made(Mode.CONFIG_ONLY),
        made(Mode.METADATA_AND_CONFIGS),
        made(Mode.SCHEMA_ONLY),
    )
    filled = {name for (_, name), (_, items) in configs.sets.items() if items}
    assert filled == {"tenants", "users", "memberships", "collections", "api_keys", "settings"}
    assert dangling(configs) == dangling(metadata) == []
    assert metadata.rows("documents") and {row["body"] for row in metadata.rows("documents")} == {""}
    assert not metadata.rows("chunks") and not metadata.sets["vectors", "libraries"][1]
    assert not any(items for _, _, items in nothing)


def test_vectors_alone_are_made_of_texts_that_stay_behind(source: Corpus, clone: Corpus) -> None:
    made = prepared(source, types=data_types(only=["embeddings"]))
    alone = masked(source, made)
    assert alone.sets["vectors", "libraries"] == clone.sets["vectors", "libraries"]
    assert not alone.rows("chunks") and made.counts == {"vectors libraries": len(clone.rows("chunks"))}


def test_a_vector_without_a_text_is_left_out_and_counted_once(source: Corpus) -> None:
    changed = source.copy()
    stray = vector_item(
        "0c4ebe15-adc8-4a14-84b8-f367cdb2871c", "0c4ebe15-adc8-4a14-84b8-f367cdb2871d", 0, [1.0] * 32
    )
    changed.sets["vectors", "libraries"][1].append(stray)
    made = prepared(changed)
    first, again = masked(changed, made), masked(changed, made)
    assert first.sets == again.sets and made.left_out == {"vectors libraries": 1}
    sides = ([SetItems(*one) for one in side] for side in (changed, again))
    assert check(made, *sides).passed


def test_one_data_type_alone_can_be_asked_for_and_an_unknown_one_not() -> None:
    assert data_types(only=["documents", "embeddings"]) == {"documents", "embeddings"}
    with pytest.raises(UsageError, match="'bodies' is no data type"):
        data_types(only=["bodies"])
