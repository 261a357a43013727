"""The tests: the rooms of minode again, under the same names."""
