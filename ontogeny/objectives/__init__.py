"""Layer 1: objectives: pure functions of tensors. Imports nothing of ours."""
