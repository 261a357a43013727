"""Fields of real subjects in their own units, right ones and ones with a planted mistake.

`subjects` holds what is right, `planted` plants the mistakes, and `score` counts: `python -m tests.gradients.collection`.
"""
