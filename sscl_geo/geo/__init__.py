"""Values: where, when, and what is measured; no I/O."""
