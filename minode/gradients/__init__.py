"""Part III. Its derivatives: the tangent, the adjoint, and the exact derivative of the steps."""
