"""Hostile fixtures as data: what every runner must survive, and the verdict that each must get."""
