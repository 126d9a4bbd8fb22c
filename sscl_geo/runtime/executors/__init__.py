"""One file per way to run units."""
