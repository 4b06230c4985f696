"""Speed and memory, measured side by side in one run on one server: `make bench`.

Figures of one run may be compared with each other, not with those of another run: machines are noisy.
"""
