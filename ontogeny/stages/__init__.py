"""Layer 7: the life cycle, one file a stage: one config, one function."""
