"""The two files that make a sandbox usable: ``lifecycle.yaml`` and ``ownership.yaml``."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tenant_lifecycle.sandbox.parts import KEYED, Part
from tenant_lifecycle.sandbox.sample import ownership_yaml
from tenant_lifecycle.sandbox.state import ROUTER_ADMIN, State
from tenant_lifecycle.sandbox.verifier import CONTROL_TENANT, verify_settings


def ownership_text(state: State) -> str:
    """``ownership.yaml`` for the stores that are there."""
    if not state.parts & (KEYED | {Part.ANALYTICS}):
        return ownership_yaml()
    head, *sections = files(__package__).joinpath("ownership_stores.yaml").read_text().split("  # store: ")
    chosen = [body for name, _, body in (s.partition("\n") for s in sections) if Part(name) in state.parts]
    return ownership_yaml() + head + "".join(chosen)


def lifecycle_text(environments: Mapping[str, Mapping[str, Mapping[str, Any]]], more: str = "") -> str:
    """``lifecycle.yaml`` for these settings of stores, by environment and store name."""
    lines = ["# Written by `tenantctl sandbox up`, and again each time.", "version: 1",
             "ownership: ownership.yaml", "environments:"]  # fmt: skip
    for environment, stores in environments.items():
        lines += [f"  {environment}:", "    stores:"]
        for name, settings in stores.items():
            fields = ", ".join(f"{key}: {json.dumps(value)}" for key, value in settings.items())
            lines.append(f"      {name}: {{{fields}}}")
    lines += ["tiers:", "  platinum: {}", "  gold: {}", "  bronze: {}"]
    return "\n".join(lines) + "\n" + more


def verifying(
    environments: Mapping[str, Mapping[str, Mapping[str, Any]]], dsns: Mapping[str, str]
) -> dict[str, Any]:
    """The same settings with the verifier's beside them; ``dsns`` are its own, by environment."""
    return {
        environment: {
            name: _verified(settings, verify_settings(name, settings, dsns.get(environment, "")))
            for name, settings in stores.items()
        }
        for environment, stores in environments.items()
    }


def _verified(settings: Mapping[str, Any], verify: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**settings, "verify": verify} if verify else settings


def erasure_text() -> str:
    """The section ``erasure``: the tenant that stays, for every search to find."""
    return f"erasure:\n  control_tenant: {CONTROL_TENANT}\n"


def backups_text(folder: Path) -> str:
    """The section ``backups``: a repository in the folder, and beside it the key, made once."""
    key = folder / "backups.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    return (
        "backups:\n  repository: {folder: backups, key: {file: backups.key}}\n"
        "  tiers: {platinum: {cross_region: false, rpo: 1s}, gold: {rpo: 1s}, bronze: {rpo: 1s}}\n"
    )


def masking_text() -> str:
    """``masking.yaml``: what every place of the sample application's data is."""
    return files(__package__).joinpath("masking.yaml").read_text(encoding="utf-8")


def router_text(state: State) -> str:
    """The section ``traffic`` of ``lifecycle.yaml``: where the router reads its routes, and where it is asked."""
    if Part.ROUTER not in state.parts or ROUTER_ADMIN not in state.ports:
        return ""
    routes, admin = "router/routes/routes.json", f"http://127.0.0.1:{state.ports[ROUTER_ADMIN]}"
    return f"traffic:\n  routers:\n    edge: {{kind: envoy, routes: {routes}, admin: {json.dumps(admin)}}}\n"
