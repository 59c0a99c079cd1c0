"""More than two hundred values of made-up people, each once, in every kind of place of a tenant."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

from masking.corpus import FORMS, TENANT, Corpus, object_item, text_key, vector_item
from tenant_lifecycle.masking.forms import Opened
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.stores.postgres.backup.form import key_of

_GIVEN = [
    "Aurelio",
    "Beatrix",
    "Cosmina",
    "Dagmar",
    "Eloise",
    "Fiorella",
    "Gustavo",
    "Henrika",
    "Ignatz",
    "Jolanta",
    "Katarzyna",
    "Leopold",
    "Mirella",
    "Norberto",
    "Ottavia",
]
_FAMILY = [
    "Abernathy",
    "Brzezicki",
    "Castellanos",
    "Dragomir",
    "Eichendorff",
    "Fitzgibbon",
    "Grzelak",
    "Hohenfels",
    "Iturralde",
    "Jaworski",
    "Kirchhoff",
    "Lewandow",
    "Mastroianni",
    "Novakovic",
    "Ostrovsky",
]


@dataclass(frozen=True)
class Person:
    number: int

    @property
    def name(self) -> str:
        return f"{_GIVEN[self.number % 15]} {_FAMILY[(self.number // 15 + self.number) % 15]}{'-' + _FAMILY[self.number // 15 - 1] if self.number >= 15 else ''}"

    @property
    def email(self) -> str:
        return f"{self.name.split()[0]}.{self.number}@mail-{self.number}.corp".lower()


#: In each place, so many different people.
EACH = 13
#: Where a value is planted: the prose, JSON, name, key or payload that holds it.
PLACES = ("body", "json value", "json nested", "json key", "title", "tag", "message", "note", "chunk", "file name",
          "redis key", "redis value", "stream", "object body", "object title", "vector payload", "url", "base64")  # fmt: skip


def planted(corpus: Corpus) -> tuple[Corpus, list[tuple[str, str]]]:
    """The corpus with people in ``users`` and each named in one more place; and what was planted: place and value."""
    corpus = corpus.copy()
    everybody = [Person(number) for number in range(len(PLACES) * EACH)]
    _register(corpus, everybody)
    told: list[tuple[str, str]] = []
    for number, person in enumerate(everybody):
        place = PLACES[number % len(PLACES)]
        value = person.email if number // len(PLACES) % 2 else person.name
        _plant(corpus, place, value, number // len(PLACES))
        told.append((place, value))
    return corpus, told


def _register(corpus: Corpus, everybody: list[Person]) -> None:
    shape, _ = corpus.sets["postgres", "users"]
    rows = []
    for person in everybody:
        id = f"{person.number:08x}-0000-4000-8000-000000000000"
        cells = (id.encode(), person.email.encode(), person.name.encode(), b"2026-01-05 08:00:00+00")
        rows.append(Item("users", key_of(shape, cells), cells))
    corpus.add("postgres", shape, rows)


def _plant(corpus: Corpus, place: str, value: str, at: int) -> None:
    said = f"As {value} told us, the figures are right."
    document = corpus.rows("documents")[at]
    meta = json.loads(str(document["meta"]))
    if place == "body":
        corpus.change("documents", at, body=f"{document['body']}\n{said}")
    elif place == "json value":
        corpus.change("documents", at, meta=json.dumps({**meta, "reviewer": value}))
    elif place == "json nested":
        corpus.change("documents", at, meta=json.dumps({**meta, "workflow": {"steps": [{"by": [value]}]}}))
    elif place == "json key":
        corpus.change("documents", at, meta=json.dumps({**meta, "votes": {value: 1}}))
    elif place == "file name":
        corpus.change(
            "documents", at, meta=json.dumps({**meta, "source": f"upload/{value.replace(' ', '_')}.pdf"})
        )
    elif place == "title":
        corpus.change("documents", at, title=f"Review by {value}")
    elif place == "tag":
        corpus.change("documents", at, tags=f'{{query,"{value}"}}')
    elif place == "message":
        corpus.change("messages", at, content=said)
    elif place == "note":
        corpus.change("messages", 20 + at, content=value.upper())
    elif place == "url":
        corpus.change(
            "messages", 40 + at, content=f"See https://intranet.corp/people?name={quote(value)}&x=1 for more"
        )
    elif place == "base64":
        corpus.change("messages", 60 + at, content=f"payload {base64.b64encode(said.encode()).decode()} sent")
    elif place == "chunk":
        corpus.change("chunks", at, content=said)
    else:
        _plant_item(corpus, place, value, said, at)


def _plant_item(corpus: Corpus, place: str, value: str, said: str, at: int) -> None:
    id = f"00000000-0000-4000-8000-{at:012x}"
    key = f"documents/{TENANT}/{id}.txt"
    if place == "redis key":
        corpus.sets["redis", "sessions"][1].append(text_key("sessions", f"session:{TENANT}:{value}", "{}"))
    elif place == "redis value":
        content = json.dumps({"cursor": 1, "filters": ["open"], "last": {"query": said}})
        corpus.sets["redis", "sessions"][1].append(
            text_key("sessions", f"session:{TENANT}:value-{at}", content)
        )
    elif place == "stream":
        _add_entry(corpus, {"kind": b"ask", "request": b"r", "by": value.encode()})
    elif place == "object body":
        corpus.sets["objects", "documents"][1].append(object_item(key, said.encode(), "A report"))
    elif place == "object title":
        other = key.replace("-4000-", "-4001-")
        corpus.sets["objects", "documents"][1].append(object_item(other, b"nothing", f"Report of {value}"))
    else:
        row = corpus.rows("chunks")[at]
        collection = corpus.rows("documents")[0]["collection_id"]
        vector = vector_item(
            str(collection), str(row["document_id"]), int(row["ordinal"] or 0), [0.25] * 32, author=value
        )
        items = corpus.sets["vectors", "libraries"][1]
        items[:] = [one for one in items if one.key != vector.key] + [vector]


def _add_entry(corpus: Corpus, fields: dict[str, bytes]) -> None:
    items = corpus.sets["redis", "events"][1]
    opened = FORMS["redis"].opened(items[0])
    entries = [
        *opened.content["entries"],
        {"id": f"{100 + len(opened.content['entries'])}-0".encode(), "fields": fields},
    ]
    items[0] = FORMS["redis"].closed(items[0], Opened(opened.names, {**opened.content, "entries": entries}))
