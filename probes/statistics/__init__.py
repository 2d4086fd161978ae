"""Statistics of many units at once, from sums over groups; nothing here knows of probes."""
