"""charlm against its peers, in interleaved runs: `python -m benchmarks`."""
