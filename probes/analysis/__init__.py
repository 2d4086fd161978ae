"""What analysis code imports: finished runs and their probes as scikit-learn classifiers."""
