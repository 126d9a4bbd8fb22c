"""One file per way in which a set of chips lies on a disk."""
