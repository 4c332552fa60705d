"""Layer 4: what a model must not help with: harms, requests, judges, principles, attacks."""
