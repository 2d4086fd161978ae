"""What the generated corpora share: prompts and how they are written."""
