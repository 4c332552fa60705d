"""Runs programs that a model wrote, contained; refuses where it cannot contain them. Linux only."""
