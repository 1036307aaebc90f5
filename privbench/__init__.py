"""privbench: what an untrusted cloud recovers of private images, and what each defense costs."""

__version__ = "0.1.0"
