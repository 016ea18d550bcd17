"""The daemon's own pins, and what is remembered of the programs behind them."""
