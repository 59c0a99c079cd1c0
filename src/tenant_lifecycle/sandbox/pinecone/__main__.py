"""``python -m tenant_lifecycle.sandbox.pinecone --port 5080 --index docs --dimension 64``: run the emulator."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import uvicorn

from tenant_lifecycle.sandbox.pinecone.app import App
from tenant_lifecycle.sandbox.pinecone.faults import Faults


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    faults = Faults(
        latency_ms=options.latency_ms, jitter_ms=options.jitter_ms, throttle=options.throttle,
        rate=options.rate, retry_after_s=options.retry_after, errors=options.errors, stale_ms=options.stale_ms,
    )  # fmt: skip
    app = App(f"http://{options.host}:{options.port}", faults, options.api_key, options.file)
    if options.index:
        _create(app, options)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    uvicorn.run(
        app, host=options.host, port=options.port, access_log=False, log_level="warning", lifespan="off",
        h11_max_incomplete_event_size=256 * 1024, backlog=512, timeout_graceful_shutdown=1,
    )  # fmt: skip


def _create(app: App, options: argparse.Namespace) -> None:
    """The index of the command line, unless the file brought one of that name."""
    fields: dict[str, dict[str, object]] = {}
    if options.dimension:
        fields["values"] = {
            "type": "dense_vector",
            "dimension": options.dimension,
            "metric": options.metric,
        }
    if options.sparse:
        fields["sparse_values"] = {"type": "sparse_vector"}
    app.create_index_once({"name": options.index, "schema": {"fields": fields}})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tenant_lifecycle.sandbox.pinecone",
        description="An emulator of Pinecone (API 2026-07). It tests our client code, not the product.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", default="", help="demand this key; without it any is taken")
    parser.add_argument("--file", type=Path, help="keep accepted writes here, so that a restart has them")
    parser.add_argument("--index", help="create this index at the start")
    parser.add_argument("--dimension", type=int, default=8, help="of its dense vectors; 0: it has none")
    parser.add_argument("--metric", default="cosine", choices=["cosine", "dotproduct", "euclidean"])
    parser.add_argument("--sparse", action="store_true", help="it takes sparse values too")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--jitter-ms", type=float, default=0)
    parser.add_argument("--throttle", type=float, default=0, help="share of requests that get 429")
    parser.add_argument("--rate", type=float, default=0, help="requests a second before 429; 0: no limit")
    parser.add_argument("--retry-after", type=float, default=0, help="seconds, in a 429")
    parser.add_argument("--errors", type=float, default=0, help="share of requests that get 503")
    parser.add_argument("--stale-ms", type=float, default=0, help="reads do not see younger writes")
    return parser


if __name__ == "__main__":
    main()
