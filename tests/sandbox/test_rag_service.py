"""The sample application on real servers: what it promises its clients."""

import asyncio
import json
import threading
import time
import uuid

import httpx
import pytest
from rag_service import embedding
from rag_service.api import create_app

from tenant_lifecycle.sandbox.http_load import expected

HOSTILE = ["acme", "o'neill & sons", "zürich-rück", "1", "12"]
TEXT = "Quokkas are small. They live on an island. " * 15


def put(client, text: str = TEXT, id: str | None = None, **headers: str) -> str:
    id = id or str(uuid.uuid4())
    answer = client.put(f"/documents/{id}", json={"title": "A – title", "text": text}, headers=headers)
    assert answer.status_code == 200, answer.text
    return id


@pytest.mark.parametrize("tenant", HOSTILE)
def test_a_document_is_there_in_every_way_until_it_is_deleted(client, tenant) -> None:
    me, case = client(tenant), uuid.uuid4().hex
    id = put(me, f"{TEXT} The case is {case}.")
    found = me.get(f"/documents/{id}").json()
    assert (found["title"], found["v"], found["chunks"]) == ("A – title", 1, 2)
    assert found["text"].endswith(f"{case}.")
    assert id in {one["id"] for one in me.get("/documents", params={"limit": 1000}).json()}
    piece = embedding.cut(found["text"])[1]
    hit = me.get("/search", params={"q": piece}).json()[0]
    assert (hit["document"], hit["ordinal"], hit["content"]) == (id, 1, piece)
    conversation = str(uuid.uuid4())
    answer = me.post("/ask", json={"question": piece, "conversation": conversation}).json()
    assert answer["answer"] == piece and answer["cites"][0] == {"document": id, "ordinal": 1, "v": 1}
    assert [m["content"] for m in me.get(f"/conversations/{conversation}").json()] == [piece, piece]
    assert me.delete(f"/documents/{id}").status_code == 204
    assert me.get(f"/documents/{id}").status_code == 404
    assert id not in {hit["document"] for hit in me.get("/search", params={"q": piece}).json()}
    assert me.delete(f"/documents/{id}").status_code == 204, "deleting again is no error"


def test_tenants_do_not_reach_each_others_things(client) -> None:
    one, other = client("1"), client("12")
    id, conversation = put(one), str(uuid.uuid4())
    assert one.post("/ask", json={"question": "Who?", "conversation": conversation}).status_code == 200
    assert one.put("/sessions/mine", json={"x": 1}).status_code == 204
    assert other.get(f"/documents/{id}").status_code == 404
    assert other.put(f"/documents/{id}", json={"title": "t", "text": "mine now"}).status_code == 404
    assert other.delete(f"/documents/{id}").status_code == 204
    assert other.get("/sessions/mine").status_code == 404
    assert other.get(f"/conversations/{conversation}").json() == []
    question = {"question": "Who?", "conversation": conversation}
    assert other.post("/ask", json=question).status_code == 404
    assert one.get(f"/documents/{id}").json()["text"] == TEXT


def test_a_request_that_is_sent_twice_is_done_once(client) -> None:
    me = client("hooli")
    key = {"idempotency-key": "77-1", "x-api-client": f"test-{uuid.uuid4().hex[:8]}"}
    id = put(me, **key)
    put(me, id=id, **key)
    assert me.get(f"/documents/{id}").json()["v"] == 1
    assert me.get("/usage", headers=key).json()["document.put"] == 1
    put(me, id=id, **{**key, "idempotency-key": "77-2"})
    assert me.get(f"/documents/{id}").json()["v"] == 2
    assert me.get("/usage", headers=key).json()["document.put"] == 2


def test_a_kept_answer_is_given_again_only_while_all_that_it_cites_is_as_it_was(client) -> None:
    me, question = client("stark"), f"Where is {uuid.uuid4().hex}?"
    id = put(me, f"It is here. {question}")

    def ask() -> dict:
        return me.post("/ask", json={"question": question, "conversation": str(uuid.uuid4())}).json()

    assert [ask()["cached"], ask()["cached"]] == [False, True]
    put(me, f"It went away. {question}", id)
    answer = ask()
    assert not answer["cached"] and answer["answer"].startswith("It went away.")
    me.delete(f"/documents/{id}")
    assert id not in {cite["document"] for cite in ask()["cites"]}


def test_an_event_is_given_to_one_worker_once(client) -> None:
    me = client("wayne")
    while me.post("/events/take", json={"consumer": "a", "count": 1000}).json():
        pass
    ids = [put(me) for _ in range(5)]
    first = me.post("/events/take", json={"consumer": "a", "count": 3}).json()
    second = me.post("/events/take", json={"consumer": "b", "count": 1000}).json()
    assert [event["document"] for event in first + second] == ids
    assert me.post("/events/take", json={"consumer": "a"}).json() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-tenant-id": "%ff"}, 400),
        ({"x-tenant-id": ""}, 400),
        ({"x-tenant-id": "nobody"}, 404),
        ({"x-tenant-id": "acme", "idempotency-key": "one"}, 400),
        ({"x-tenant-id": "acme", "idempotency-key": "99999999999-1"}, 400),
        ({"x-tenant-id": "acme", "x-api-client": "a*b"}, 422),
    ],
)
def test_headers_that_make_no_sense_are_refused_before_anything_is_done(client, headers, status) -> None:
    path, body = f"/documents/{uuid.uuid4()}", {"title": "t", "text": "x"}
    assert client("acme").put(path, json=body, headers=headers).status_code == status


def test_the_log_has_every_request_and_nothing_that_a_person_wrote(box, client) -> None:
    secret, me = uuid.uuid4().hex, client("acme")
    put(me, f"My name is {secret}.")
    me.get("/search", params={"q": secret})
    log = box.any_server("blue/app").log.read_text()
    assert secret not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    last = [line for line in lines if line["route"] == "/documents/{id}"][-1]
    assert (last["method"], last["status"], last["tenant"], last["environment"]) == (
        "PUT",
        200,
        "acme",
        "blue",
    )


def test_the_fault_switch_makes_it_slow_and_broken_and_whole_again(client) -> None:
    me = client("acme")
    try:
        me.post("/_fault", json={"error_share": 1})
        assert me.get("/health").status_code == 500
        me.post("/_fault", json={"latency_ms": 300})
        began = time.monotonic()
        assert me.get("/health").status_code == 200
        assert time.monotonic() - began >= 0.3
        assert me.post("/_fault", json={"error_share": 2}).status_code == 422
    finally:
        me.post("/_fault", json={})
    assert me.get("/health").json() == {"status": "ok", "environment": "blue"}


def test_there_is_no_fault_switch_unless_it_was_asked_for() -> None:
    def status(**options: bool) -> int:
        async def ask() -> int:
            transport = httpx.ASGITransport(create_app(None, "blue", **options))
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as app:
                return (await app.post("/_fault", json={})).status_code

        return asyncio.run(ask())

    assert status() == 404
    assert status(allow_faults=True) == 204


def test_a_request_under_way_is_answered_before_the_application_ends(box, client) -> None:
    me, app, status = client("acme", "green"), box.any_server("green/app"), []
    me.post("/_fault", json={"latency_ms": 1000})
    thread = threading.Thread(target=lambda: status.append(me.get("/health").status_code))
    thread.start()
    try:
        time.sleep(0.3)
        app.stop()
        thread.join()
        assert status == [200]
        assert app.pid is None
    finally:
        app.start()


def test_the_load_and_the_application_make_the_same_of_a_text() -> None:
    for text in (TEXT, "x", "Ünïcode! Ist das? Ja.", "no end " * 200, "a. " * 300):
        assert embedding.cut(text) == expected.pieces(text)
        for piece in expected.pieces(text):
            assert embedding.embed(piece) == expected.vector(piece)
