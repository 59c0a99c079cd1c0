"""A restore of one tenant beside others, against pg_restore of the same rows, and by hand into the live table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import rows
from bench.backed import ALONE, Backed, backed, dump, proceed, raw_mb, sizes, take, tool
from bench.measure import alternating, spread, stopwatch
from bench.report import Figure, Report
from bench.servers import execute, settle
from tenant_lifecycle.model.backup.manifest import Manifest
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Preview, Writing

TENANT = TenantId(rows.TENANT)


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """To a preview, proved by its fingerprints, against pg_restore; and in place, against pg_restore and SQL by hand."""
    count, repetitions = (2_000, 1) if quick else (80_000, 3)
    with backed(count) as bench:
        manifest, _ = take(bench)
        dump(bench)
        sides: dict[str, Callable[[int], float]] = {
            "preview": lambda _n: _preview(bench, manifest),
            "pg_restore": lambda _n: _pg_restore(bench),
            "in place": lambda _n: _in_place(bench, manifest),
            "by hand": lambda _n: _by_hand(bench),
            "in place, 2 % differ": lambda _n: _in_place(bench, manifest, damage="id % 50 = 0"),
        }
        seconds = alternating(sides, repetitions, show)
        size = raw_mb(manifest)
        rate = {name: size / min(each) for name, each in seconds.items()}
        extras: dict[str, Any] = {
            "rows": count,
            **sizes(bench, manifest),
            "seconds_of": {name: spread(each) for name, each in seconds.items()},
        }
    hand = "pg_restore + SQL"
    figures = (
        Figure("to a preview, proved", "MB/s", rate["preview"], rate["pg_restore"], "pg_restore", "higher"),
        Figure("in place, all rows gone", "MB/s", rate["in place"], rate["by hand"], hand, "higher"),
        Figure("in place, 2 % differ", "MB/s", rate["in place, 2 % differ"], rate["by hand"], hand, "higher"),
    )
    return Report("restore", figures, extras)


def _loaded(bench: Backed, manifest: Manifest) -> Preview:
    """From the repository into a preview, read back and compared with what the manifest says."""
    base = manifest.stores["postgres"]
    shapes = {name: one.shape for name, one in base.sets.items()}
    preview: Preview = bench.store.open_preview(TENANT, "bench", shapes, base.facts)
    for name in shapes:
        preview.load(name, bench.repository.items(manifest, "postgres", name), proceed)
    found = preview.fingerprints(bench.repository.fingerprint_key())
    if any(found[name] != one.fingerprint for name, one in base.sets.items()):
        raise RuntimeError("the preview is not what was backed up")
    return preview


def _preview(bench: Backed, manifest: Manifest) -> float:
    settle(bench.servers.green)
    with stopwatch() as watch:
        preview = _loaded(bench, manifest)
    preview.discard()
    return watch.seconds


def _pg_restore(bench: Backed) -> float:
    execute(bench.dsn, f"DROP TABLE IF EXISTS {ALONE}")
    settle(bench.servers.green)
    with stopwatch() as watch:
        tool("pg_restore", "-d", bench.dsn, str(bench.dump))
    return watch.seconds


def _in_place(bench: Backed, manifest: Manifest, damage: str = "true") -> float:
    execute(bench.dsn, f"DELETE FROM documents WHERE tenant_id = '{TENANT}' AND {damage}")  # noqa: S608
    execute(bench.dsn, "VACUUM ANALYZE documents")
    settle(bench.servers.green)
    with stopwatch() as watch:
        preview = _loaded(bench, manifest)
        preview.promote(Writing("bench", TENANT, 1), None, proceed)
    if any(one.only_restored or one.only_live or one.changed for one in preview.diff(0, proceed)):
        raise RuntimeError("the live rows are not what was restored")
    preview.discard()
    return watch.seconds


def _by_hand(bench: Backed) -> float:
    """What people do: restore beside, delete the tenant's rows, insert those; nothing compared, nothing proved."""
    execute(bench.dsn, f"DROP TABLE IF EXISTS {ALONE}", f"DELETE FROM documents WHERE tenant_id = '{TENANT}'")  # noqa: S608
    execute(bench.dsn, "VACUUM ANALYZE documents")
    settle(bench.servers.green)
    with stopwatch() as watch:
        tool("pg_restore", "-d", bench.dsn, str(bench.dump))
        execute(bench.dsn, f"INSERT INTO documents SELECT * FROM {ALONE}")  # noqa: S608
    return watch.seconds
