"""What runs in the jail: standard library alone, and nothing of it is trusted with any data."""
