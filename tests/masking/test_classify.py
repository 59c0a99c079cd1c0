"""Proposals: what a place is called, what its values are, and whose they are."""

from __future__ import annotations

import json

import pytest

from masking.corpus import Corpus, sample, sandbox_registry
from tenant_lifecycle.masking.classify import CERTAIN, Classifier, Proposal, too_mild
from tenant_lifecycle.masking.patterns import Phones
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Column, Shape


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return sample(0.01)


def propose(corpus: Corpus, table: str, *people: str) -> dict[str, Proposal]:
    shape, items = corpus.sets["postgres", table]
    found = Classifier(people).of_set("postgres", shape, items)
    return {one.place.removeprefix(f"postgres {table}."): one for one in found}


def test_the_sandboxs_people_and_secrets_are_proposed(corpus: Corpus) -> None:
    users, keys, documents = (
        propose(corpus, "users"),
        propose(corpus, "api_keys"),
        propose(corpus, "documents"),
    )
    assert (users["email"].cls, users["email"].kind) == ("direct", "email") and users[
        "email"
    ].confidence == 1.0
    assert (users["full_name"].cls, users["full_name"].kind) == ("direct", "name")
    assert keys["secret_hash"].cls == "secret"
    assert documents["body"].cls == documents["title"].cls == documents["tags"].cls == "free_text"
    assert documents["meta.source"].kind == "file_name" and documents["created_at"].cls == "structural"
    assert documents["tenant_id"].cls == "tenant_id" and documents["collection_id"].kind == "uuid"
    assert propose(corpus, "chunks")["embedding"].cls == "embedding"
    assert propose(corpus, "audit_log")["actor"].kind == "email"


def column(name: str, values: list[str], type_: str = "text", people: tuple[str, ...] = ()) -> Proposal:
    shape = Shape("t", (Column(name, type_),), ())
    items = [Item("t", b"", (value.encode(),)) for value in values]
    return Classifier(people, Phones(("DE",))).of_set("postgres", shape, items)[0]


@pytest.mark.parametrize(("values", "kind"), [
    (["4929123456789015", "5500000000000004"], "card"), (["DE89370400440532013000"], "iban"), (["536-90-4399"], "national_id"),
    (["8.8.8.8", "10.0.0.1"], "ip"), (["+49 30 901820"], "phone"), (["https://x.example/a"], "sink"), (["AKIAIOSFODNN7EXAMPLE"], "regenerate"),
])  # fmt: skip
def test_values_speak_whatever_the_column_is_called(values: list[str], kind: str) -> None:
    found = column("zzz", values * 10)
    assert found.kind == kind and found.confidence >= CERTAIN
    assert not any(value in str(found) for value in values)
    assert str(found).startswith(f"{{class: {found.cls}, kind: {kind}}} (")


def test_numbers_with_a_wrong_check_digit_are_no_cards() -> None:
    assert column("zzz", ["4929123456789012"] * 10).cls == "free_text"


def test_a_column_with_the_tenants_own_people_is_one_of_names() -> None:
    found = column("zzz", ["Ada Bauer", "KARL WEBER", "x"], people=("Ada Bauer", "Karl Weber"))
    assert (found.cls, found.kind) == ("direct", "name") and "2 of 3" in found.evidence[0]


def test_a_few_short_values_are_public_and_other_text_is_not() -> None:
    assert column("zzz", ["open", "closed"] * 40).cls == "public"
    assert column("zzz", [f"v{number}" for number in range(80)]).cls == "free_text"
    assert column("zzz", []).cls == "free_text"


def test_paths_inside_of_json_are_places_of_their_own() -> None:
    shape = Shape("t", (Column("data", "jsonb"),), ())
    items = [
        Item(
            "t",
            b"",
            (json.dumps({"a": {"mail": "x@corp.example"}, "n": 3, "list": ["y@corp.example"]}).encode(),),
        )
    ] * 5
    found = {one.place: one.kind for one in Classifier().of_set("postgres", shape, items)}
    assert found == {
        "postgres t.data.a.mail": "email",
        "postgres t.data.list": "email",
        "postgres t.data.n": "keep",
    }


def test_a_registry_that_is_milder_than_the_data_is_refused(corpus: Corpus) -> None:
    copy = corpus.copy()
    shape, items = copy.sets["postgres", "memberships"]
    for at in range(len(items)):
        copy.change("memberships", at, role=f"person{at}@corp.example")
    proposals = Classifier().of_set("postgres", shape, copy.sets["postgres", "memberships"][1])
    found = too_mild(sandbox_registry(), "postgres", shape, proposals)
    assert [one.code for one in found] == ["masking.too-mild"] and "memberships.role is public" in found[
        0
    ].message
    for table in ("users", "memberships", "documents", "messages", "audit_log", "settings"):
        shape, items = corpus.sets["postgres", table]
        assert not too_mild(
            sandbox_registry(), "postgres", shape, Classifier().of_set("postgres", shape, items)
        ), table
