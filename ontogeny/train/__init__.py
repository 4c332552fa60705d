"""Layer 3: the one gradient loop, its optimizer, its schedule and its exact checkpoints."""
