"""Readers: strips in, posteriors out. `runtime` runs the bundled weights."""
