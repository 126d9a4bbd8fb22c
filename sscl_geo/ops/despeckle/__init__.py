"""One file per filter of speckle; each takes and returns backscatter in linear power."""
