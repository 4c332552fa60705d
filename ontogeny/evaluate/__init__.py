"""Scores with intervals: bits per byte, proportions, compressors as yardsticks."""
