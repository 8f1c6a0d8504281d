import lines  # noqa: F401 - before any module here asks for a time zone
