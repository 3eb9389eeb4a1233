"""The parsers of foreign bytes: a module a kind of input, each with `TARGETS`."""
