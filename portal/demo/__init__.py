"""The demo: a whole installation beside a simulated rail and carrier, for looking and for tests.

`stage` keeps its files and programs, `cast` its people, `past` plays the months that lie behind
them through the real executor. Production imports none of it.
"""
