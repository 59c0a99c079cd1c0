"""The lines of ``haproxy.cfg`` that make a frontend follow the map: to be put into the operator's own file.

Needs HAProxy 2.6 or newer with OpenSSL (``digest``). A session's bucket is xxh32 of its name, modulo 100.
"""

from __future__ import annotations

from tenant_lifecycle.traffic.tenant_header import (
    SESSION_COOKIE,
    SESSION_HEADER,
    TENANT_HEADER,
    WRITE_HEADER,
    WRITE_METHODS,
)

#: The stick table with the counters.
TABLE = "tl_served"


def table_lines(table: str = TABLE, entries: int = 100_000) -> list[str]:
    """The backend section that only holds the counters: requests, and answers of the 5xx kind."""
    return [
        f"backend {table}",
        f"  stick-table type string len 100 size {entries} expire 20d store http_req_cnt,gpc(1)",
    ]


def frontend_lines(
    map_file: str, environments: int, *, table: str = TABLE, cookie: str = SESSION_COOKIE
) -> list[str]:
    """Lines of a frontend, before its own ``default_backend``, which serves tenants without an entry.

    ``environments`` is how many may share one tenant's requests.
    """
    session = f"req.hdr({SESSION_HEADER})"
    methods = " ".join(WRITE_METHODS)
    return [
        f"  http-request set-var(txn.tl_tenant) req.hdr({TENANT_HEADER})",
        f"  http-request set-var(txn.tl_route) var(txn.tl_tenant),map_str({map_file})",
        "  acl tl_routed var(txn.tl_route) -m found",
        f"  acl tl_write method {methods}",
        f"  acl tl_write req.hdr({WRITE_HEADER}) 1",
        # The later line wins: the header, else the cookie, else chance.
        "  http-request set-var(txn.tl_hash) rand(100)",
        f"  http-request set-var(txn.tl_hash) req.cook({cookie}),xxh32(0),mod(100) if {{ req.cook({cookie}) -m found }}",
        f"  http-request set-var(txn.tl_hash) {session},xxh32(0),mod(100) if {{ {session} -m found }}",
        "  http-request set-var(txn.tl_backend) var(txn.tl_route),field(2,|),field(1,:),field(1,=) if tl_routed",
        *(line for place in range(2, environments + 1) for line in _next_interval(place)),
        "  http-request set-var(txn.tl_kind) str(r)",
        "  http-request set-var(txn.tl_kind) str(w) if tl_write",
        "  http-request set-var(txn.tl_backend) var(txn.tl_route),field(1,|) if tl_routed tl_write",
        # Only what never reached an application is sent again when it writes.
        "  http-request disable-l7-retry if tl_write",
        "  http-request set-var(txn.tl_key) var(txn.tl_tenant),digest(sha256),hex,lower,bytes(0,24),"
        'concat(.,txn.tl_kind,.),concat("",txn.tl_backend,"")',
        f"  http-request track-sc0 var(txn.tl_key) table {table} if tl_routed",
        "  http-after-response set-var(txn.tl_errors) sc_inc_gpc(0,0) if tl_routed { status ge 500 }",
        "  use_backend %[var(txn.tl_backend)] if tl_routed",
    ]


def _next_interval(place: int) -> list[str]:
    """The interval number ``place`` counts from where the one before it ends."""
    route, end = "var(txn.tl_route),field(2,|)", f"txn.tl_end{place - 1}"
    return [
        f"  http-request set-var({end}) {route},field({place - 1},:),field(2,=),add(0) if tl_routed",
        f"  http-request set-var(txn.tl_backend) {route},field({place},:),field(1,=) "
        f"if tl_routed {{ {route},field({place},:) -m found }} {{ var(txn.tl_hash),sub({end}) ge 0 }}",
    ]
