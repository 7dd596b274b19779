"""Learning: what is left open is decided, then the loop runs, and everything is kept."""
