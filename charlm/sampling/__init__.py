"""Generating text: engines for one and for many streams, filters, and decoding."""
