"""Models: opening them, finding and verifying their sites, hooks and forward passes."""
