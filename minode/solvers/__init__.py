"""Part II. How it is integrated: Runge–Kutta methods as data, and the loops that step them."""
