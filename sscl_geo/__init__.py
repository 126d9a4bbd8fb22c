"""Land-cover mapping from Sentinel-1 and Sentinel-2 with few labels."""

__version__ = "0.1.0"
