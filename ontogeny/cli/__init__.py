"""Layer 8: the command line. Commands import what they need when they are called."""
