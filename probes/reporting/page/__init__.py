"""Self-contained HTML pages: their data, their sentences, their templates and script."""
