"""Texts known by name: the catalogue, downloads and the cache."""
