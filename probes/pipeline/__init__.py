"""What a run does, from the corpus to the run directory."""
