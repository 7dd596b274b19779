"""The command line: parses, calls, shows. Computes nothing."""
