"""A drill: a random tenant as of a random moment, restored beside what is live, proved, measured and thrown away."""
