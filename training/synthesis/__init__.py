"""Synthetic strips and pages with known content: drawn paper and print, real or drawn digits."""
