"""The arithmetic: arrays in, arrays out; no Redis, clock, environment, logger or event loop in here."""

# Part of every model's identity: raised whenever the same snapshot and configuration would give other bytes.
KERNEL_VERSION = 1
