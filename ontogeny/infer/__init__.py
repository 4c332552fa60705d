"""Generation from a model: sampling, slots and the engine that batches."""
