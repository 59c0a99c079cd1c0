"""Values of backup, restore and clone: items, changes, shapes, fingerprints, cuts."""
