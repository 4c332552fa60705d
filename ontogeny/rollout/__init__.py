"""Asking a policy for tokens: requests, flows, the driver that plays them, trajectories."""
