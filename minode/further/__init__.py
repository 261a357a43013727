"""Part V. Further on: where to stop, and the gradients of stiff problems."""
