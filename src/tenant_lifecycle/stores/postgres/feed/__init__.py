"""The change feed of one tenant: from the source's write-ahead log to the target's rows.

``slots`` makes the source keep changes, ``receiver`` reads them, ``intake`` (with ``pgoutput``, ``layout`` and
``owner``) turns them into records of the tenant's changes, ``spool`` keeps those, ``apply`` (with ``collapse``,
``statements`` and ``pending``) writes them into the target, ``follower`` runs it all.
"""
