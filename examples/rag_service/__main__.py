"""One instance of the service, in one environment::

    PYTHONPATH=examples python -m rag_service --config lifecycle.yaml --environment green --port 8001

It ends on SIGTERM or Ctrl-C, after the requests that it is at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvicorn

from rag_service import logs
from rag_service.api import create_app
from rag_service.tenants import open_tenants


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="rag_service", description="A small multi-tenant RAG service.")
    parser.add_argument("--config", type=Path, required=True, help="lifecycle.yaml")
    parser.add_argument("--environment", required=True, help="whose instance this is")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--allow-faults", action="store_true", help="offer POST /_fault, for drills")
    given = parser.parse_args()
    logs.configure()
    # Threads wait for each other's turn 5 ms by default, which would look like slow stores.
    sys.setswitchinterval(0.0005)
    tenants = open_tenants(given.config, given.environment)
    app = create_app(tenants, given.environment, allow_faults=given.allow_faults)
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        # Longer than clients and routers keep an idle connection, or they use one that is just being closed.
        timeout_keep_alive=30,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
