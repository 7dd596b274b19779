"""Seeing inside: what a network reads, remembers and forgets."""
