"""One file per way to read pixels."""
