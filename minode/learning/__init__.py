"""Part IV. What for: training, and flows of probability."""
