"""Small decoders trained on a generated corpus, whose heads can be understood."""
