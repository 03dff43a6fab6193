"""Sweeps: many trainings of a spec that differ in a few values, their search spaces, samplers, schedulers and
results.
"""
