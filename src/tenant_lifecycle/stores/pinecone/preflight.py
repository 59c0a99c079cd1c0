"""Every reason not to move a tenant from one index to another, and making the target ready."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pinecone.models.indexes.index import IndexModel

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding, refusals, unanswered
from tenant_lifecycle.model.keymap import ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.pinecone.inventory import counted, shown
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.probe import describe_field, kind, missing, probe
from tenant_lifecycle.stores.pinecone.side import OURS, Side, owned, unmapped, written_names
from tenant_lifecycle.stores.pinecone.verdicts import fine, refuse, warn

#: Namespaces that the smallest plan allows in one index.
_FEW_NAMESPACES = 100
_PATIENCE = Patience()


def preflight(source: Side, target: Side, tenant: TenantId) -> list[Finding]:
    """All findings; changes no data on either side (settling a read writes nothing, see `freshness`)."""
    found = probe(source)
    if refusals(found):
        return found
    found += [one for one in probe(target) if one.code != "pinecone.freshness"]
    if any(one.code == "pinecone.reachable" for one in refusals(found)):
        return found
    try:
        here, there = source.client.model(_PATIENCE), target.client.describe(_PATIENCE)
        resolved = source.resolve(tenant)
        found += [*_names(source, resolved), *_unmapped(source)]
        if there is not None:
            found += [
                *_same_index(source, here, target, there),
                *_shape(here, target, there),
                *_occupied(source, target, resolved),
            ]
    except StoreError as exc:
        found.append(unanswered("pinecone.check-failed", exc, "try again"))
    return found


def _same_index(source: Side, here: IndexModel, target: Side, there: IndexModel) -> Iterator[Finding]:
    if here.host == there.host:
        yield refuse(
            target.name,
            "same-index",
            f"it is the same index as {source.name}",
            "give the environment its own",
        )


def _shape(here: IndexModel, target: Side, there: IndexModel) -> Iterator[Finding]:
    """Vector fields are compared by kind, dimension and metric; one that has another name holds other vectors."""
    mine = {name: describe_field(field) for name, field in here.schema.fields.items()}
    theirs = {name: describe_field(field) for name, field in there.schema.fields.items()}
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            yield refuse(
                target.name, "index-mismatch",
                f"field {name}: {theirs.get(name, 'not there')}; at the source: {mine.get(name, 'not there')}",
                "create an index with the source's schema",
            )  # fmt: skip


def _names(source: Side, resolved: ResolvedKeys) -> Iterator[Finding]:
    if any(family.holds(OURS) for family in resolved.families.values()):
        yield refuse(
            source.name, "reserved", f"the namespace {OURS} is ours and would be the tenant's",
            "change the template in ownership.yaml",
        )  # fmt: skip
    for family, names in written_names(resolved).items():
        yield warn(
            source.name, "impossible-name",
            f"family {family}: {len(names)} name(s) that no namespace can have, so nothing is under them",
            "Pinecone takes 1 to 512 ASCII characters; check the template",
        )  # fmt: skip


def _unmapped(source: Side) -> Iterator[Finding]:
    if strangers := list(unmapped(source, _PATIENCE)):
        yield refuse(
            source.name, "unmapped", f"no rule for {len(strangers)} namespace(s): {shown(strangers)}",
            "add a family or a global template to ownership.yaml",
        )  # fmt: skip
    else:
        yield fine(source.name, "unmapped", "every namespace has a rule")


def _occupied(source: Side, target: Side, resolved: ResolvedKeys) -> Iterator[Finding]:
    held = [
        one.name
        for spaces in owned(target, resolved, _PATIENCE).values()
        for one in spaces
        if counted(target, one.name)
    ]
    if held:
        yield refuse(
            target.name, "target-occupied", f"{len(held)} namespace(s) of the tenant have vectors: {shown(held)}",
            "remove them, or find out who wrote them",
        )  # fmt: skip
    else:
        yield fine(target.name, "target-occupied", "no vector of the tenant is there")
    moving = owned(source, resolved, _PATIENCE)
    spaces, vectors = (
        sum(map(len, moving.values())),
        sum(one.record_count for some in moving.values() for one in some),
    )
    there = sum(1 for _ in target.client.namespaces("", _PATIENCE))
    if there + spaces > _FEW_NAMESPACES:
        yield warn(
            target.name, "quota",
            f"it has {there} namespaces and gets {spaces} more; small plans allow {_FEW_NAMESPACES}",
            "check the plan's limits of namespaces, storage and monthly units",
        )  # fmt: skip
    yield fine(source.name, "size", f"{vectors} vectors in {spaces} namespaces, by the service's count")


def create_missing(source: Side, target: Side, tenant: TenantId) -> list[str]:
    """The index, if that is allowed, and namespaces that declare which metadata may be filtered by.

    Raises:
        StoreRejected: the index is missing and must not be created, or is another kind than the source's.
    """
    done = []
    here = source.client.model(_PATIENCE)
    if (there := target.client.describe(_PATIENCE)) is None:
        finding = missing(target)
        if refusals([finding, *kind(source, here)]):
            raise StoreRejected(
                f"{target.name}: {finding.message}", store=target.name, next_step=finding.next_step
            )
        target.client.create_like(here, _PATIENCE)
        done.append(f"index {target.client.index_name} like {source.client.index_name} of {source.name}")
    elif wrong := list(_shape(here, target, there)):
        raise StoreRejected(
            f"{target.name}: {wrong[0].message}", store=target.name, next_step=wrong[0].next_step
        )
    declared = 0
    for spaces in owned(source, source.resolve(tenant), _PATIENCE).values():
        for one in spaces:
            if one.schema is not None and target.client.namespace(one.name, _PATIENCE) is None:
                target.client.create_namespace(one.name, msgspec.to_builtins(one.schema), _PATIENCE)
                declared += 1
    return done + ([f"{declared} namespace(s) with declared metadata fields"] if declared else [])
