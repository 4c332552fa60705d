"""What a stage changed: weights, their spectra, and the distributions two models give."""
