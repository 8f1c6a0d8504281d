"""One viewset a noun. Each parses, makes one domain call, and answers."""
