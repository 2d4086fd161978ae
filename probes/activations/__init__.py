"""The activation cache: its layout, key, reader and writer, and the extraction that fills it."""
