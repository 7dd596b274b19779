"""Generating text: filters, engines for one and for many streams."""
