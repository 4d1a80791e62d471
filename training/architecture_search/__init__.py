"""Several architectures on one data set, each with the same budget: what to start from.

A *candidate* is an architecture with what it starts from, the size of its pictures and what of it
learns. Each is trained, exported as it would serve, and measured through that graph. What was
measured is kept, so that a search that was interrupted goes on where it stopped.
"""
