"""`python -m minode` prints the contents of the book."""

import minode

print(minode.__doc__)
