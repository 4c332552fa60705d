"""Layer 4: what users were answered and what they said of it, from the ledger to a promotion."""
