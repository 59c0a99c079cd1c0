"""The contract of erasing, held by the smallest store there is, and broken by stores that must not pass."""

from __future__ import annotations

import inspect

import memory_bench as stores
import pytest
from memory_bench import MemoryErasingBench

from tenant_lifecycle.testing.erasing_contract import TENANTS, ErasingContract, fill


class TestMemoryStore(ErasingContract):
    @pytest.fixture
    def bench(self) -> MemoryErasingBench:
        return MemoryErasingBench()


#: What must not pass -> the promise that it breaks.
BROKEN = {
    stores.SaysDeleted: "test_erasing_takes_this_tenant_and_nobody_else",
    stores.SkipsABatch: "test_erasing_takes_this_tenant_and_nobody_else",
    stores.DeletesByPrefix: "test_erasing_takes_this_tenant_and_nobody_else",
    stores.DeletesWhatItIsTold: "test_an_item_that_is_named_and_is_another_tenants_stays",
    stores.NeverAsks: "test_nothing_is_destroyed_before_the_check_was_asked",
    stores.StaysOpen: "test_a_late_write_is_refused_until_it_is_opened_again",
    stores.HidesAPlace: "test_every_planted_residue_is_found",
    stores.SwallowsErrors: "test_credentials_that_see_too_little_never_make_it_clean",
    stores.SeesNothing: "test_the_search_finds_the_tenant_before_and_the_control_always",
    stores.LooksAtNamesOnly: "test_every_planted_residue_is_found",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
def test_a_store_that_breaks_a_promise_fails(broken: type) -> None:
    failed = failing(broken)
    assert BROKEN[broken] in failed, failed


def test_the_promises_do_not_fail_a_store_that_keeps_them() -> None:
    assert failing(stores.ErasingMemoryStore) == set()


def failing(store: type) -> set[str]:
    """Names of the tests that a store fails."""
    return {
        name
        for name, test in vars(ErasingContract).items()
        if name.startswith("test_") and not passes(store, test)
    }


def passes(store: type, test) -> bool:
    takes = inspect.signature(test).parameters
    for tenant in TENANTS if "tenant" in takes else ("",):
        erasing = issubclass(store, stores.ErasingMemoryStore)
        bench = MemoryErasingBench(eraser=store) if erasing else MemoryErasingBench(verifier=store)
        if "filled" in takes:
            fill(bench)
        values = {"filled": bench, "bench": bench, "tenant": tenant}
        try:
            test(ErasingContract(), **{name: values[name] for name in takes if name in values})
        except (AssertionError, pytest.fail.Exception):
            return False
    return True
