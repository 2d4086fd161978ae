"""Tables and pages of many jobs."""
