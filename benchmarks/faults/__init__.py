"""Scoring over HTTP while things break: what is refused, how soon, and that nothing is lost, doubled or misnamed.

python -m benchmarks.faults --seconds 10
"""
