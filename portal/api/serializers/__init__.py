"""What goes in (`…In`, validated, never saved) and what comes out (`…Out`), by noun."""
