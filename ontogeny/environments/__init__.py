"""Tasks with verifiable answers: arithmetic, recall, strings, formats, reasoning-gym."""
