"""The benchmark: Terratunnel beside direct nginx, one hop and two hops of the reference nginx, in one run.

Run by `make bench` or `python -m bench`. Only ratios taken in the same cycle count; see bench/README.md.
"""
