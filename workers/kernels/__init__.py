"""What is computed? Arrays in, arrays out. No Redis, clock, environment, logger or event loop is used here."""
