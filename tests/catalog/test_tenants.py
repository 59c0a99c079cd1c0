"""Tenants' rows."""

from __future__ import annotations

import pytest

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.errors import UnknownTenant
from tenant_lifecycle.model.operation import TenantUpdate


def test_a_tenant_is_created_and_then_changed_where_told(control: ControlDatabase) -> None:
    tenants = Tenants(control)
    made = tenants.upsert(TenantUpdate("acme", display_name="Acme", tier="platinum", environment="blue"))
    assert (made.display_name, made.tier, made.environment, made.state) == (
        "Acme",
        "platinum",
        "blue",
        "active",
    )
    moved = tenants.upsert(TenantUpdate("acme", environment="green"))
    assert (moved.display_name, moved.environment) == ("Acme", "green")
    assert moved.created_at == made.created_at
    assert moved.updated_at >= made.updated_at


def test_tenants_are_listed_by_id_in_pages(control: ControlDatabase) -> None:
    tenants = Tenants(control)
    for name in ("c", "a", "b"):
        tenants.upsert(TenantUpdate(name, environment="green" if name == "b" else "blue"))
    assert [each.id for each in tenants.list()] == ["a", "b", "c"]
    assert [each.id for each in tenants.list(after="a", limit=1)] == ["b"]
    assert [each.id for each in tenants.list(environment="blue")] == ["a", "c"]


def test_an_unknown_tenant_is_named(control: ControlDatabase) -> None:
    with pytest.raises(UnknownTenant, match="'acme'"):
        Tenants(control).get("acme")
