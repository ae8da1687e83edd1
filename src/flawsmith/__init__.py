"""From a CAD file or ten photographs to a certified inspection station."""

__version__ = "0.1.0"
