"""Layer 1: a run: traces a recipe, executes its stages, skips, resumes, stops."""
