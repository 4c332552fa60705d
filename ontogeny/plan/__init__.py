"""Layer 0: from a budget to a plan: shapes, FLOPs, tokens, time. Never imports torch."""
