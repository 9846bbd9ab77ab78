"""How do a job and a run change? Every change of their state, in the order of the design's chapter 5."""
