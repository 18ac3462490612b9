"""Settings, errors, ids, clock, logging, release policy: what every other folder stands on."""
