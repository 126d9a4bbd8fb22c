"""One file per way to run the ranks of a training job."""
