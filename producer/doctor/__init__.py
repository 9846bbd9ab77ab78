"""The doctor: looks whether everything that the system stands on is as it should be, and says what to do where not."""
