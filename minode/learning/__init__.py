"""Part IV. What it is for."""
