"""The command line: parses, calls the library and shows; computes nothing."""
