"""One file per reduction over time."""
