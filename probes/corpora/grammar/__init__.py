"""The built-in corpus: English sentences from a seeded grammar, with their annotations."""
