"""Side-by-side measurements against the tools a user would pick instead.

Threads wait as in a run, for all contestants: libgomp's default makes two threads take five to ten
times the processor time beside other processes.
"""

from probes.core.process import shorten_waiting

shorten_waiting()  # before a benchmark imports torch
