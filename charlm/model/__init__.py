"""Ids to a distribution over the next character: the network, its ways through time, its file."""
