"""What people would use instead, written as they would write it: run by `make bench` alone."""
