"""Layer 5, language half: what leaves the store: a card with evidence, a bundle, its check."""
