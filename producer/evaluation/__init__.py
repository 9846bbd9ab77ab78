"""How good are lists? Interactions are split, models are fitted on one part, and their lists judged by the other."""
