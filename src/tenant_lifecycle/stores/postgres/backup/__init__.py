"""Bases of a tenant's rows, previews of a restored one, and how a preview becomes what is live."""
