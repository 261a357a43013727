"""Part V. Further on: what grew out of the neural ODE."""
