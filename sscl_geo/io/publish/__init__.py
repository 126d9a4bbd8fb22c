"""One file per format that analysts open."""
