"""What the rails' simulators have in common and no rail has a say in.

A journal, a clock that can be moved, work that waits for it, faults on order, the routes to steer.

How a rail speaks, signs and keeps its books is each simulator's own.
"""
