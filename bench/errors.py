"""The one error of the benchmark: its text is a sentence for the person who ran it."""


class BenchError(Exception):
    """Something a measurement needs is missing or broke."""
