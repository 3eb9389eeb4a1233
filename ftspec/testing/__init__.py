"""For plugin authors: fakes and conformance suites."""
