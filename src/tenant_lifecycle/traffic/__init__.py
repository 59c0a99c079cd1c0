"""Where a tenant's requests go: routers, and what tells how well they are served."""
