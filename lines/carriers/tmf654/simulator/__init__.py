"""A mobile operator's BSS that speaks TMF654, keeps its own books, and misbehaves on command.

    python -m lines.carriers.tmf654.simulator --port 8120 --journal var/tmf654.jsonl --token T

A process of its own, never loaded in production, and it shares no code with the adapter: what the
two agree on, they agree on by the protocol. Its journal is the truth the tests compare with.
"""
