"""The plug-in against the emulated cluster: the contract, and what is peculiar to Elasticsearch."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from emulated_cluster import EVERYTHING, EmulatedCluster, served

from tenant_lifecycle.errors import ConfigError, StoreBusy, StoreUnavailable
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.registry import no_ids, open_store
from tenant_lifecycle.testing.erasing_contract import (
    ErasingContract,
    erase,
    erasing,
    fill,
    hits,
    is_clean,
    look,
    manifest,
    nothing,
)
from tenant_lifecycle_elasticsearch.store import ElasticsearchStore, open_elasticsearch

OWNERSHIP = OwnershipMap(
    {},
    keys={
        "search": KeyMap(
            {"own": Family(Template.parse("docs-{tenant}"))},
            shared={"shared": Shared(Template.parse("documents"), ("tenant_id",))},
        )
    },
)


class ElasticBench:
    """One emulated cluster; everybody's documents in one index, and the trap of indices that nobody mentions."""

    def __init__(self, cluster: EmulatedCluster, url: str) -> None:
        self.cluster, self.url = cluster, url
        cluster.create("documents", tenant_id="keyword", text="text")
        cluster.users = {"eraser": {EVERYTHING}, "verifier": {EVERYTHING}, "blind": {"documents"}}
        cluster.writers = {"eraser"}
        self.eraser = self.replaced_eraser()
        self.verifier = self.opened("verifier")
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "an index that no rule mentions": lambda text: self._put("reports", text),
            "a hidden index": lambda text: self._put(".async-search", text),
            "another's document": lambda text: cluster.put(
                "documents", "trap", {"tenant_id": "x", "text": text.decode()}
            ),
            "an alias": lambda text: cluster.aliases.update({text.decode(): "documents"}),
        }

    def opened(self, key: str) -> ElasticsearchStore:
        return open_elasticsearch(
            name="search",
            environment="blue",
            settings={"url": self.url, "api_key": key},
            ownership=OWNERSHIP,
            ids=no_ids,
        )

    def replaced_eraser(self) -> ElasticsearchStore:
        return self.opened("eraser")

    def blinded(self) -> ElasticsearchStore:
        self._put("secret", b"acme")
        return self.opened("blind")

    def put(self, tenant: str, item: str, content: str) -> None:
        self.cluster.put("documents", f"{tenant}/{item}", {"tenant_id": tenant, "text": content})

    def content(self, tenant: str, item: str) -> str | None:
        found = self.cluster.indices["documents"].now.get(f"{tenant}/{item}")
        return None if found is None else found[1]["text"]

    def _put(self, index: str, text: bytes) -> None:
        if index not in self.cluster.indices:
            self.cluster.create(index)
        self.cluster.put(index, "1", {"text": text.decode()})


@pytest.fixture
def bench() -> Iterator[ElasticBench]:
    cluster = EmulatedCluster()
    with served(cluster) as url:
        bench = ElasticBench(cluster, url)
        yield bench
        bench.eraser.close()
        bench.verifier.close()


@pytest.fixture
def filled(bench: ElasticBench) -> ElasticBench:
    fill(bench)
    return bench


class TestElasticsearchStore(ErasingContract):
    @pytest.fixture
    def bench(self, bench: ElasticBench) -> ElasticBench:
        return bench


# -- deletion


def test_an_index_of_its_own_is_dropped_whole(filled: ElasticBench) -> None:
    for name in ("docs-acme", "docs-acme2"):
        filled.cluster.create(name)
        filled.cluster.put(name, "1", {"text": "page"})
    batches = erase(filled, "acme")
    assert "docs-acme" not in filled.cluster.indices
    assert "docs-acme2" in filled.cluster.indices
    assert is_clean(filled.verifier, "acme", batches)


def test_a_version_conflict_is_no_deletion_and_the_query_is_run_again(filled: ElasticBench) -> None:
    filled.cluster.written_meanwhile = {"acme/0.txt": 3}
    (batch,) = manifest(filled.eraser, "acme")
    result = filled.eraser.erase(erasing("acme"), batch, nothing)
    assert (result.deleted, result.gone) == (5, 0)
    assert filled.content("acme", "0.txt") is None


def test_conflicts_that_never_end_are_said_and_not_called_done(filled: ElasticBench) -> None:
    filled.cluster.written_meanwhile = {"acme/0.txt": 1000}
    (batch,) = manifest(filled.eraser, "acme")
    with pytest.raises(StoreBusy, match="written faster"):
        filled.eraser.erase(erasing("acme"), batch, nothing)


def test_a_failure_inside_a_good_answer_is_a_refusal(filled: ElasticBench) -> None:
    filled.cluster.broken = {"acme/0.txt"}
    (batch,) = manifest(filled.eraser, "acme")
    result = filled.eraser.erase(erasing("acme"), batch, nothing)
    assert [one.code for one in result.refused] == ["mapper_exception"]
    assert filled.verifier.remaining(TenantId("acme"), batch, nothing)


def test_a_document_that_no_search_sees_yet_is_in_the_manifest(filled: ElasticBench) -> None:
    filled.cluster.put("documents", "acme/new", {"tenant_id": "acme", "text": "new"}, refresh=False)
    assert sum(len(batch.keys) for batch in manifest(filled.eraser, "acme")) == 6


def test_deleted_documents_are_merged_away_and_snapshots_are_named(filled: ElasticBench) -> None:
    filled.cluster.snapshots = {"nightly": ["monday"]}
    for batch in manifest(filled.eraser, "acme"):
        filled.eraser.erase(erasing("acme"), batch, nothing)
    assert filled.cluster.indices["documents"].marked == 5
    settled = filled.eraser.settle(erasing("acme"), ["shared"], nothing)
    assert filled.cluster.indices["documents"].marked == 0
    assert settled.left == ("snapshots: 1 in repository nightly",)


def test_an_owners_field_that_is_cut_into_words_is_refused(filled: ElasticBench) -> None:
    filled.cluster.indices["documents"].properties["tenant_id"] = {"type": "text"}
    found = filled.eraser.erasure_findings(TenantId("acme"))
    assert [one.severity for one in found] == [Severity.REFUSAL]
    filled.cluster.indices["documents"].properties["tenant_id"]["fields"] = {"keyword": {"type": "keyword"}}
    assert filled.eraser.erasure_findings(TenantId("acme")) == []


def test_an_index_that_no_rule_mentions_is_refused(filled: ElasticBench) -> None:
    filled.cluster.create("reports")
    assert [one.code for one in filled.eraser.erasure_findings(TenantId("acme"))] == ["es.unmapped"]


# -- search


def test_a_shard_that_fails_makes_the_search_inconclusive(filled: ElasticBench) -> None:
    batches = erase(filled, "acme")
    filled.cluster.failing_shards = {"documents"}
    assert not is_clean(filled.verifier, "acme", batches)


def test_documents_without_a_source_make_it_inconclusive(filled: ElasticBench) -> None:
    batches = erase(filled, "acme")
    filled.cluster.create("metrics").without_source = True
    filled.cluster.put("metrics", "1", {"text": "x"})
    assert not is_clean(filled.verifier, "acme", batches)


def test_a_cluster_that_is_down_is_unavailable() -> None:
    store = open_elasticsearch(
        name="search",
        environment="blue",
        settings={"url": "http://127.0.0.1:1"},
        ownership=OWNERSHIP,
        ids=no_ids,
    )
    with pytest.raises(StoreUnavailable):
        look(store, "acme")
    assert [one.severity for one in store.probe()] == [Severity.REFUSAL]


def test_a_verifier_that_may_write_is_told(filled: ElasticBench) -> None:
    assert [one.code for one in filled.eraser.verifier_findings()] == ["es.verifier-writes"]
    assert [one.severity for one in filled.verifier.verifier_findings()] == [Severity.OK]


def test_nothing_of_the_credentials_is_in_an_error(filled: ElasticBench) -> None:
    assert "eraser" not in repr(filled.eraser.cluster)
    assert hits(look(filled.verifier, "acme")) > 0


# -- how it gets in


@pytest.mark.parametrize(
    ("settings", "why"), [({}, "no url"), ({"url": "http://x", "pasword": "y"}, "unknown setting 'pasword'")]
)
def test_wrong_settings_are_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        open_elasticsearch(
            name="search", environment="blue", settings=settings, ownership=OWNERSHIP, ids=no_ids
        )


def test_it_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: ElasticBench
) -> None:
    """As an installation does: the distribution's metadata on the path is all that is needed."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    metadata = tmp_path / "tenant_lifecycle_elasticsearch-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tenant-lifecycle-elasticsearch\nVersion: 0.1.0\n"
    )
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    settings = {"url": bench.url, "api_key": "eraser"}
    store = open_store(
        "elasticsearch", name="search", environment="blue", settings=settings, ownership=OWNERSHIP
    )
    assert isinstance(store, ElasticsearchStore)
    store.close()
