"""One file per satellite product; the file's name is the product's name."""
