"""Layer 0: what both halves stand on: errors, configs, identity, the artifact store, events."""
