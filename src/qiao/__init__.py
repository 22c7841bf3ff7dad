"""Qiao 桥: one bridge from a merchant's order to every way of paying."""
