"""What a tenant was at any moment: bases with the log folded over them, which moments there are, new bases from old."""
