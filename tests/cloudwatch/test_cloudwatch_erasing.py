"""A tenant leaves the logs: its streams and groups go, and its lines in shared streams are written anew without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from log_service import THEM, US, LogService

from erasing_marks import CONTROL, erase_all, erasing, finder, frozen, go_on, hits, left_of, searched
from tenant_lifecycle.errors import ConfigError, StoreBusy, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.cloudwatch import lines, rewriting
from tenant_lifecycle.stores.cloudwatch.anonymise import anonymised, tokens, words

SECRET = "marker-of-the-tenant-93b1"
HOSTILE = ["a.b", "[x]", "x'; DROP", "zürich 租户", '"q"', "x\\y", "{t}", "?"]


def test_streams_groups_and_lines_go_and_the_neighbour_stays_line_for_line(service: LogService) -> None:
    service.fill(THEM, "theirs")
    service.fill("a1", "also 1 theirs")
    before = service.lines()
    service.fill(US, SECRET)
    batches, done, settled = erase_all(service.store, US)
    assert {batch.method for batch in batches} == {Method.DROP, Method.ANONYMISE}
    assert sum(one.deleted for one in done) == 2 + 5 + 1 and not settled.left
    assert set(before) <= set(service.lines())
    assert len(service.lines()) == len(before) + 5 + 1, "anonymised lines stay"
    assert not left_of(service.store, US, batches)
    assert not hits(service.store, finder(SECRET))
    assert "/tenant/1" not in [one["logGroupName"] for one in service.logs.describe_log_groups()["logGroups"]]


def test_an_anonymised_line_is_consistent_and_leads_nowhere(service: LogService) -> None:
    service.ids[US] = TenantIds({"dataset": frozenset({"ds-7"})})
    service.write("/app/web", "shared-a", json.dumps({"tenant_id": US, "text": SECRET, "set": "ds-7"}))
    service.write("/app/web", "shared-b", json.dumps({"tenant_id": US, "about": ["ds-7", "ds-77"], "n": 1}))
    erase_all(service.store, US)
    first, second = (
        json.loads(service.read("/app/web", f"{name}~tl-erase_1-1")[0]) for name in ("shared-a", "shared-b")
    )
    assert first["tenant_id"] == second["tenant_id"] != US and first["tenant_id"].startswith("anon-")
    assert first["set"] == second["about"][0] and second["about"][1] == "ds-77" and second["n"] == 1
    assert SECRET not in str(first)


def test_reading_what_a_filter_returns_would_not_have_done(service: LogService) -> None:
    """The naive way: delete the tenant's streams. The shared stream still has its lines."""
    service.fill(US, SECRET)
    service.logs.delete_log_stream(logGroupName="/app/web", logStreamName="tenant-1/2026")
    service.logs.delete_log_group(logGroupName="/tenant/1")
    assert {hit.where.partition(" @")[0] for hit in hits(service.store, finder(SECRET))} == {"shared-a"}


@pytest.mark.parametrize("tenant", HOSTILE)
def test_an_id_with_letters_that_mean_something_changes_nobody_elses_lines(
    service: LogService, tenant: str
) -> None:
    for other in ("ab", "axb", "x", tenant + "1", "1" + tenant):
        service.fill(other, "theirs", streams=False)
    before = service.lines()
    service.fill(tenant, SECRET, streams=False)
    erase_all(service.store, tenant)
    assert set(before) <= set(service.lines())
    assert not hits(service.store, finder(SECRET, f'"tenant_id": {json.dumps(tenant)}'))


def test_a_shared_stream_that_is_being_written_is_left_and_told(
    new_service: Callable[..., LogService],
) -> None:
    service = new_service()
    service.fill(US, SECRET)
    before = service.lines()
    assert "cloudwatch.stream-written" in {
        one.code for one in refusals(service.store.erasure_findings(TenantId(US)))
    }
    (batch,) = [one for one in frozen(service.store, US) if one.set == "lines"]
    done = service.store.erase(erasing(US), batch, go_on)
    assert {one.code for one in done.refused} == {"StreamIsWritten"} and len(done.refused) == 5
    assert service.lines() == before


def test_a_line_written_while_a_stream_is_copied_is_not_lost(service: LogService) -> None:
    service.fill(US, SECRET)
    (batch,) = [one for one in frozen(service.store, US) if one.set == "lines"]
    written: list[str] = []

    def write_in_between() -> None:
        if not written:
            written.append(json.dumps({"tenant_id": THEM, "late": True}))
            service.write("/app/web", "shared-a", written[0], ago_s=1)

    with pytest.raises(StoreBusy):
        service.store.erase(erasing(US), batch, write_in_between)
    assert written[0] in service.read("/app/web", "shared-a")
    service.store.erase(erasing(US), batch, go_on)
    assert [one for *_, one in service.lines()].count(written[0]) == 1
    assert not left_of(service.store, US, [batch])


@pytest.mark.parametrize("change", ["create_log_stream", "put_log_events", "put again", "delete_log_stream"])
def test_killed_after_any_change_and_run_again_no_line_is_lost_or_doubled(
    service: LogService, change: str
) -> None:
    """After a request that only reads, the service is as it was after the change before it."""
    service.fill(THEM, "theirs")
    before = service.lines()
    service.fill(US, SECRET)
    (batch,) = [one for one in frozen(service.store, US) if one.set == "lines"]
    logs, changes = service.store.area.logs, list[str]()
    ask = logs.call

    def die(operation: str, **parameters: object) -> object:
        answer = ask(operation, **parameters)
        if operation.startswith(("create_", "put_", "delete_")):
            changes.append("put again" if operation in changes else operation)
            if changes[-1] == change:
                raise StoreUnavailable("killed", store="blue")
        return answer

    logs.call = die  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        service.store.erase(erasing(US), batch, go_on)
    other = service.open(quiet="0")
    other.erase(erasing(US, 2), batch, go_on)
    after = service.lines()
    assert set(before) <= set(after) and len(after) == len(before) + 5 + 1 + 1 + 1
    assert not left_of(other, US, [batch])


def test_old_lines_refuse_or_go_into_a_file_or_are_dropped_and_counted(
    new_service: Callable[..., LogService], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_service(quiet="0")
    monkeypatch.setattr(lines, "PUTTABLE_S", 3_600)
    service.write("/app/web", "shared-a", json.dumps({"tenant_id": THEM, "old": 1}), ago_s=7_200)
    service.write("/app/web", "shared-a", json.dumps({"tenant_id": US, "text": SECRET}), ago_s=7_100)
    service.write("/app/web", "shared-a", json.dumps({"tenant_id": THEM, "new": 1}))
    assert "cloudwatch.old-lines" in {
        one.code for one in refusals(service.store.erasure_findings(TenantId(US)))
    }
    (batch,) = frozen(service.store, US)
    assert [one.code for one in service.store.erase(erasing(US), batch, go_on).refused] == [
        "LinesTooOldToPut"
    ]
    to_file = service.open(quiet="0", old_lines=str(tmp_path / "old"))
    (warning,) = [one for one in to_file.erasure_findings(TenantId(US)) if one.code == "cloudwatch.old-lines"]
    assert warning.message.startswith("2 lines") and not refusals(to_file.erasure_findings(TenantId(US)))
    to_file.erase(erasing(US), batch, go_on)
    (file,) = (tmp_path / "old").glob("*.jsonl")
    exported = [json.loads(one)["message"] for one in file.read_text().splitlines()]
    assert json.loads(exported[0]) == {"tenant_id": THEM, "old": 1} and SECRET not in file.read_text()
    assert [json.loads(one) for *_, one in service.lines()] == [{"tenant_id": THEM, "new": 1}]
    dropping = service.open(quiet="0", old_lines="drop")
    assert not refusals(dropping.erasure_findings(TenantId(THEM)))


def test_lines_without_a_rule_and_names_and_filters_are_found_and_a_rule_proposed(
    service: LogService,
) -> None:
    service.write("/shadow", "s", f"hidden {SECRET}")
    service.write("/app/web", "unknown", SECRET)
    service.write("/app/web", f"shared-{SECRET}", "x")
    service.write("/app/web", "tenant-1/a", SECRET)
    service.logs.put_metric_filter(
        logGroupName="/app/web", filterName="errors", filterPattern=f'"{SECRET}"',
        metricTransformations=[{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}],
    )  # fmt: skip
    found = {
        (hit.place, hit.where.partition(" @")[0]): hit.proposal for hit in hits(service.store, finder(SECRET))
    }
    assert set(found) == {
        ("/shadow", "s"), ("/app/web", "unknown"), ("/app/web", f"shared-{SECRET}"), ("/app/web", "tenant-1/a"),
        ("/app/web", "metric_filters"),
    }  # fmt: skip
    assert "/shadow:*" in found["/shadow", "s"] and found["/app/web", "unknown"]
    assert found["/app/web", "tenant-1/a"] == ""
    assert {place.name: place.declared for place in service.store.places()} == {
        "/shadow": False,
        "/app/web": True,
    }
    assert "cloudwatch.unmapped" in {
        one.code for one in refusals(service.store.erasure_findings(TenantId(US)))
    }


def test_a_filter_that_names_the_tenant_is_left_and_told(service: LogService) -> None:
    for number, tenant in enumerate((US, THEM)):
        service.write("/app/web", "shared-a", "{}")
        service.logs.put_metric_filter(
            logGroupName="/app/web", filterName=f"f{number}x", filterPattern=f"tenant {tenant} failed",
            metricTransformations=[{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}],
        )  # fmt: skip
    assert service.store.settle(erasing(US), [], go_on).left == (
        "1 metric filters name the tenant: change or delete them",
    )


def test_every_page_is_read_on_both_sides(service: LogService) -> None:
    for part in range(2):
        rows = (
            json.dumps({"tenant_id": US if i % 2 else THEM, "i": 10_000 * part + i}) for i in range(6_000)
        )
        service.write("/app/web", "shared-a", *rows, ago_s=300 - 90 * part)
    service.write("/app/web", "shared-a", json.dumps({"tenant_id": THEM, "text": SECRET}), ago_s=400)
    assert len(hits(service.store, finder(SECRET))) == 1
    batches, done, _ = erase_all(service.store, US)
    assert sum(one.deleted for one in done) == 2 * 3_000
    assert not left_of(service.store, US, batches)


def test_the_control_is_found_where_it_was_planted_and_a_canary_goes(
    new_service: Callable[..., LogService],
) -> None:
    service = new_service()
    service.write("/app/web", "shared-a", "{}")
    for _ in range(2):
        planted = service.store.plant(erasing("ctl"), CONTROL)
    service.store.plant(erasing(US), SECRET)
    assert [one.place for one in planted] == ["/app/web", "/app/web"]
    looked = searched(service.store, finder(SECRET))["/app/web"]
    assert looked.control_found and looked.hit_count == 2
    _, done, _ = erase_all(service.store, US)
    assert not [one.refused for one in done if one.refused]
    looked = searched(service.store, finder(SECRET))["/app/web"]
    assert looked.control_found and not looked.hit_count


def test_the_check_is_asked_before_every_deletion(service: LogService) -> None:
    service.fill(US, SECRET)
    before = service.lines()

    def stop() -> None:
        raise StoreRejected("a hold was placed", store="blue")

    for batch in frozen(service.store, US):
        with pytest.raises(StoreRejected):
            service.store.erase(erasing(US), batch, stop)
    assert set(before) <= set(service.lines())


def test_a_service_that_is_down_refuses_and_proves_nothing(service: LogService) -> None:
    down = service.open(endpoint="http://127.0.0.1:1")
    assert {one.code for one in refusals(down.verifier_findings())} == {"cloudwatch.reachable"}
    assert {one.code for one in refusals(down.erasure_findings(TenantId(US)))} == {"cloudwatch.reachable"}
    with pytest.raises(StoreUnavailable):
        down.places()


def test_a_verifier_that_may_not_read_lines_says_so(service: LogService) -> None:
    service.fill(US, SECRET)
    logs, ask = service.store.area.logs, service.store.area.logs.call

    def refuse(operation: str, **parameters: object) -> object:
        if operation == "get_log_events":
            raise StoreRejected("get_log_events was refused (AccessDeniedException)", store="blue")
        return ask(operation, **parameters)

    logs.call = refuse  # type: ignore[method-assign]
    assert searched(service.store, finder(SECRET))["/app/web"].unread
    assert {one.code for one in refusals(service.store.verifier_findings())} == {"cloudwatch.verifier-rights"}


@pytest.mark.parametrize("settings", [{"quiet": "-1"}, {"quiet": "x"}, {"quiet": "nan"}, {"secret_key": ""}])
def test_settings_that_mean_nothing_are_refused(service: LogService, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        service.open(**settings)


def test_words_are_found_as_wholes() -> None:
    rule = rules_for(US)
    change = tokens(b"k")
    assert anonymised("tenant=1 of 12 and a1", rule, words([US]), change).endswith("of 12 and a1")
    assert anonymised("tenant=1 x", rule, words([""]), change) == "tenant=1 x"
    assert rewriting.is_mark('{"tenant_lifecycle_rewritten": {}}')


def rules_for(tenant: str):  # type: ignore[no-untyped-def]
    from log_service import RULES

    return RULES.resolve_shared(tenant, TenantIds())[1]
