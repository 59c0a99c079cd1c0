"""``python -m bench NAME [--json] [--quick]``: run one bench, or ``all``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from bench.report import Report, as_line, table

#: Benches that take ``--scale``.
SCALED = frozenset({"erase"})
#: In the order of ``all``: module of this package, and what it shows.
BENCHES = {
    "fence": "what the armed fence adds to a write",
    "journal": "what the journal adds to a step",
    "copy": "copy of one tenant against psql piped to psql",
    "apply": "apply of changes against a native subscription",
    "archive": "archiving of changes for all tenants against the server's decoding; cost for writers",
    "verify": "comparison of equal tables against reladiff",
    "flip": "write pause of flips to and fro under load",
    "whole": "write pause of flips with every store, under requests over HTTP",
    "client": "what the client library adds to a write",
    "route": "push of a route to effect, Envoy and HAProxy",
    "stores": "copy, digest and reconcile of keyed stores against a loop with their SDK",
    "lag": "lag at 10,000 row changes a second",
    "scan": "search for residue against a loop over spellings and values",
    "erase": "manifest and deletion of a tenant against a loop per system",
    "log": "change log written, read and folded against pickle and a dictionary",
    "residue": "what deletions leave behind, trap by trap; writes docs/residue.md",
    "backup": "a base of one tenant against pg_dump of the same rows",
    "restore": "a restore of one tenant against pg_restore of the same rows",
    "sealing": "rows into the repository and out of it, against compression and encryption alone",
    "dedup": "bytes of 30 daily bases with 2 % of rows changed a day, against dumps and chunks",
    "mask": "masking of rows, names, ids and prose against Faker called per value",
    "gate": "leak gate: all values of the source against digests of words",
    "memory": "peak memory of a mover, small tenant and large",
}


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 1 if a bench could not be run, 0 otherwise, budgets met or not."""
    # Servers are stopped on the way out of their block, so being told to stop has to leave it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options(arguments)
    if options.name != "all":
        return _one(options.name, as_json=options.json, quick=options.quick, scale=options.scale)
    return _all(as_json=options.json, quick=options.quick)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:8} {what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        "python -m bench", epilog=f"benches:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*BENCHES, "all"])
    parser.add_argument("--json", action="store_true", help="last line of stdout is one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--scale", type=float, help="share of the full size, of erase only")
    found = parser.parse_args(arguments)
    if found.scale is not None and (found.name not in SCALED or not 0 < found.scale <= 1):
        parser.error("--scale is for erase, above 0 and at most 1")
    return found


def _one(name: str, *, as_json: bool, quick: bool, scale: float | None = None) -> int:
    load = os.getloadavg()[0]
    began = time.monotonic()
    report: Report = importlib.import_module(f"bench.{name}").run(
        quick, _progress, **({} if scale is None else {"scale": scale})
    )
    document = report.as_json(quick)
    document |= {"seconds": round(time.monotonic() - began, 1), "load_before": round(load, 2)}
    print(table([(name, figure) for figure in document["figures"]]))
    if quick:
        print("quick run: sizes are too small for the figures to mean anything")
    if load > 0.7 * (os.cpu_count() or 1):
        print(
            f"this machine was busy before the bench began (load {load:.1f}): run it again when it is quiet"
        )
    if as_json:
        print(as_line(document))
    return 0


def _all(*, as_json: bool, quick: bool) -> int:
    """Each bench in a process of its own, so that neither memory nor a failure reaches the next one."""
    documents: list[dict[str, Any]] = []
    failed: list[str] = []
    for name in BENCHES:
        print(f"== {name}: {BENCHES[name]}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "bench", name, "--json", *(["--quick"] if quick else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            documents.append(json.loads(done.stdout.splitlines()[-1]))
        else:
            failed.append(name)
    print(table([(document["bench"], figure) for document in documents for figure in document["figures"]]))
    if failed:
        print("could not be run: " + ", ".join(failed))
    if as_json:
        print(as_line({"bench": "all", "failed": failed, "benches": documents}))
    return 1 if failed else 0


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
