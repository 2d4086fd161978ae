"""Maps, profiles and other figures as images."""
