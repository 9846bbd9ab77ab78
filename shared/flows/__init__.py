"""How do a job and a run change? All changes of their state."""
