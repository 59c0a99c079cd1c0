"""Load over HTTP: people with a browser and programs with a key, every promise they were given in a ledger.

Run it in threads of this process (`HttpLoad`), or as a process of its own (see `tenant_lifecycle.sandbox.http_load.load`).
"""
