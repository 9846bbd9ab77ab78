"""What can be tried without own data? The demonstration and synthetic data."""
