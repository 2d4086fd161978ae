"""What a run leaves behind, as data: table, record, probes, evidence; and their vocabulary."""
