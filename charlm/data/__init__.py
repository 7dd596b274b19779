"""From text to a prepared corpus, and from a corpus to batches."""
