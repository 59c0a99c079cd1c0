"""The cluster with the verifier's eyes: every index there is, every document of it, and the names of everything.

Reads whole indices through a point in time; no identifier goes into a query, where a slow log would keep it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally
from tenant_lifecycle_elasticsearch.cluster import Cluster, at

#: The place of what a cluster keeps besides documents.
ABOUT = "cluster"
PAGE = 1000
_NAMES = ("/_alias", "/_index_template", "/_ingest/pipeline", "/_scripts")


def places(cluster: Cluster, keys: KeyMap) -> list[Place]:
    """Every index, hidden and closed ones included, and the cluster itself."""
    rows = cluster.get("/_cat/indices", format="json", expand_wildcards="all", h="index,docs.count")
    found = [Place(row["index"], keys.mentions(row["index"]), int(row["docs.count"] or 0)) for row in rows]
    return [*found, Place(ABOUT, True)]


def search(cluster: Cluster, place: Place, found: Found, check: Check) -> Looked:
    """One index to its end; a shard that failed, or a document without its source, makes the result say so."""
    tally = Tally(place.name, found)
    try:
        if place.name == ABOUT:
            _about(cluster, tally, check)
        else:
            proposal = (
                "" if place.declared else f"shared: {{found: {{template: {place.name!r}, path: tenant_id}}}}"
            )
            tally.look(place.name, place.name.encode(), proposal)
            _documents(cluster, place.name, tally, check, proposal)
    except StoreRejected as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def _documents(cluster: Cluster, index: str, tally: Tally, check: Check, proposal: str) -> None:
    cluster.post(at(index, "_refresh"))
    counted = cluster.get(at(index, "_count"))["count"]
    pit = cluster.post(at(index, "_pit"), keep_alive="2m")["id"]
    try:
        for hit in _hits(cluster, pit, tally, check):
            tally.items += 1
            where = f"{index}/{hit['_id']}"
            if "_source" not in hit:
                tally.could_not_read("documents are kept without their source")
            tally.look(where, json.dumps(hit, ensure_ascii=False).encode(errors="surrogatepass"), proposal)
    finally:
        cluster.ask("DELETE", "/_pit", body={"id": pit})
    if tally.items < counted:
        tally.could_not_read(f"{counted} documents are counted and {tally.items} came")


def _hits(cluster: Cluster, pit: str, tally: Tally, check: Check) -> Iterator[Any]:
    asked: dict[str, Any] = {
        "pit": {"id": pit, "keep_alive": "2m"}, "size": PAGE, "sort": [{"_shard_doc": "asc"}], "_source": True,
        "track_total_hits": False,
    }  # fmt: skip
    while True:
        check()
        answer = cluster.post("/_search", asked)
        if answer.get("timed_out") or answer["_shards"]["failed"]:
            tally.could_not_read(f"{answer['_shards']['failed']} shards failed or took too long")
        hits = answer["hits"]["hits"]
        yield from hits
        if not hits:
            return
        asked["search_after"] = hits[-1]["sort"]


def _about(cluster: Cluster, tally: Tally, check: Check) -> None:
    """Names and definitions: aliases, templates, pipelines, stored scripts."""
    for path in _NAMES:
        check()
        try:
            told = cluster.ask("GET", path, absent={})
        except StoreRejected as exc:
            tally.could_not_read(str(exc))
            continue
        tally.items += 1
        tally.look(path, json.dumps(told, ensure_ascii=False).encode(errors="surrogatepass"))


def remaining(cluster: Cluster, batch: Batch, check: Check) -> frozenset[bytes]:
    """Items that are still there: an index by its name, a document by its id, whoever's it is now."""
    check()
    if batch.method is Method.DROP:
        return frozenset(key for key in batch.keys if cluster.exists(key.decode()))
    by_index: dict[str, dict[str, bytes]] = {}
    for key in batch.keys:
        index, _, document = key.decode().partition("\0")
        by_index.setdefault(index, {})[document] = key
    left: set[bytes] = set()
    for index, ids in by_index.items():
        if cluster.exists(index):
            cluster.post(at(index, "_refresh"))
            asked = {"query": {"ids": {"values": list(ids)}}, "_source": False, "size": len(ids)}
            hits = cluster.post(at(index, "_search"), asked)["hits"]["hits"]
            left |= {ids[hit["_id"]] for hit in hits}
    return frozenset(left)


def verifier_findings(cluster: Cluster) -> list[Finding]:
    """Whether these credentials read every index, restricted ones too, and write none."""
    asked = {
        "index": [
            {"names": ["*"], "privileges": ["read", "view_index_metadata"], "allow_restricted_indices": True},
            {"names": ["*"], "privileges": ["write"]},
        ]
    }  # fmt: skip
    told = cluster.ask("POST", "/_security/user/_has_privileges", body=asked, absent=None)
    if told is None:
        return [
            _finding(
                "es.verifier", Severity.WARNING, "the cluster has no security: whoever reaches it may write"
            )
        ]
    rights = told["index"]["*"]
    if not (rights["read"] and rights["view_index_metadata"]):
        return [_finding("es.verifier-blind", Severity.REFUSAL, "the verifier may not read every index")]
    if rights["write"]:
        return [_finding("es.verifier-writes", Severity.WARNING, "the verifier may also write")]
    return [_finding("es.verifier", Severity.OK, "reads every index and writes none")]


def _finding(code: str, severity: Severity, message: str) -> Finding:
    step = (
        ""
        if severity is Severity.OK
        else "a role with read and view_index_metadata on *, restricted indices included"
    )
    return Finding(code, severity, message, step)
