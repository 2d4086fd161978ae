"""What every package may use: errors, files, process settings, targets outside the package."""
