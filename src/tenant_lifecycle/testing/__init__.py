"""For us and for plug-in authors: store contract suite, fault proxy."""
