"""One file per self-supervised task."""
