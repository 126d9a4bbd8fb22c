"""One file per segmentation backbone."""
