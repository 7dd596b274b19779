"""Characters to ids: units and symbols, sources, corpora, lanes."""
