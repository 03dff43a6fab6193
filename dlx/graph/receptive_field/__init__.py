"""Receptive fields: of each value, along any order of axes, and the arithmetic behind them."""
