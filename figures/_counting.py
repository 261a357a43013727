"""A field that counts its evaluations and its vector-Jacobian products, for figures that say what a training costs."""

from minode.learning.records import Counted


class Counting(Counted):
    """`Counted`, whose n_f counts the evaluations, with n_vjp for the products."""

    n_vjp = 0

    def vjp(self, *arguments):
        self.n_vjp += 1
        return self.field.vjp(*arguments)

    def value_and_vjp(self, t, y, theta):
        value, vjp = super().value_and_vjp(t, y, theta)

        def counted(a):
            self.n_vjp += 1
            return vjp(a)
        return value, counted
