"""Whether an index can do what this product needs: one finding per need."""

from __future__ import annotations

from collections.abc import Iterator

from pinecone.models.indexes.index import IndexModel
from pinecone.models.indexes.schema import DenseVectorField, SparseVectorField

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding, unanswered
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import OURS, Side
from tenant_lifecycle.stores.pinecone.verdicts import fine, refuse, warn

_PATIENCE = Patience(busy_s=5.0)


def probe(side: Side) -> list[Finding]:
    """Reachable, there, ready, of a kind that can be moved, fresh reads possible; never raises for what it finds."""
    try:
        model = side.client.describe(_PATIENCE)
        if model is None:
            return [missing(side)]
        return [
            fine(side.name, "reachable", f"answers; index {model.name} is {model.status.state}"),
            *_ready(side, model),
            *kind(side, model),
            *_fresh(side),
        ]
    except StoreError as exc:
        return [unanswered("pinecone.reachable", exc, "check host and api_key of this store")]


def missing(side: Side) -> Finding:
    """There is no index."""
    message = f"there is no index {side.client.index_name!r}"
    if side.may_create_index:
        return warn(side.name, "index-missing", message, "it will be created like the source's")
    return refuse(
        side.name, "index-missing", message,
        "create it, or allow it with create_index: yes in lifecycle.yaml",
    )  # fmt: skip


def _ready(side: Side, model: IndexModel) -> Iterator[Finding]:
    if not model.status.ready:
        yield refuse(side.name, "not-ready", f"the index is {model.status.state}", "wait until it is ready")


def kind(side: Side, model: IndexModel) -> Iterator[Finding]:
    """Vectors only: documents and texts that the service embeds itself are reached by other calls."""
    strange = sorted(
        name
        for name, field in model.schema.fields.items()
        if not isinstance(field, DenseVectorField | SparseVectorField)
        and not getattr(field, "filterable", False)
    )
    if strange:
        yield refuse(
            side.name, "index-kind", f"its fields {', '.join(strange)} are not vectors",
            "indexes of documents and of integrated embedding are not moved by this version",
        )  # fmt: skip
    if type(model.deployment).__name__ == "PodDeployment":
        yield refuse(
            side.name, "index-kind", "it is pod-based: it lists no ids and numbers no writes",
            "migrate it to a serverless index first",
        )  # fmt: skip
    shape = ", ".join(
        f"{name}: {describe_field(field)}" for name, field in sorted(model.schema.fields.items())
    )
    yield fine(side.name, "index", shape)


def describe_field(field: object) -> str:
    """``1536 dimensions, cosine``."""
    if isinstance(field, DenseVectorField):
        return f"{field.dimension} dimensions, {field.metric}"
    return "sparse" if isinstance(field, SparseVectorField) else type(field).__name__


def _fresh(side: Side) -> Iterator[Finding]:
    """Looked at without writing; an answer about a namespace that is not there yet may say nothing."""
    try:
        side.client.seen(OURS, _PATIENCE)
    except StoreRejected as exc:
        yield warn(side.name, "freshness", str(exc).removeprefix(f"{side.name}: "), exc.next_step)
    else:
        yield fine(side.name, "freshness", "answers say which writes they saw")
