"""Settings, errors, ids, clock, logging and release policy. All other folders may import it."""
