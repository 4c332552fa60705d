"""From files to clean, deduplicated, split documents; every removal has a counted reason."""
