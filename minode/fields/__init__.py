"""Part I. What is integrated: vector fields f(t, y, θ) and their derivatives, all by hand."""
