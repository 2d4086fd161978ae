"""Words and facts of the generated corpora."""
