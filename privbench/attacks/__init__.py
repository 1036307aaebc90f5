"""Attacks, one module each; ``components`` holds the parts that several of them share."""
