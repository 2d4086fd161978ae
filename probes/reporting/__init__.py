"""What a run shows: figures (``drawing``), web pages (``page``), the terminal, and loggers.

All of them draw a ``HeadMap``, which is read from a ``FeatureTable`` of the results.
"""
