"""Experiments: a matrix of systems, numbers of labels and seeds over one set of chips."""
