"""The arithmetic: arrays in, arrays out; no Redis, clock, environment, logger or event loop in here."""
