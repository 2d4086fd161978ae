"""Evidence of probing: control task, baselines, codelength, and the rows of the results."""
