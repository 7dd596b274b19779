"""Text as symbols: characters, bytes or words, and the vocabulary."""
