"""Networks, losses and the training loop; no files."""
