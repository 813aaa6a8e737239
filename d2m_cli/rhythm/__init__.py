"""Rhythm of a dance (Sec. 3.2): acceleration by direction, its peaks, and the tempo behind them."""
