"""HAProxy: routes in a map, changed over the runtime interface and in the map's file."""
