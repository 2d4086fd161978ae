"""Running a model over a corpus: alignment of text with tokens, batches, the loop, its visitors."""
