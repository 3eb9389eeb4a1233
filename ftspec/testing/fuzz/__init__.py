"""Every parser of foreign bytes, and ways to break it.

`target` says what a target is, `targets/` are all of them, `mutate` changes valid inputs, and
`python -m ftspec.testing.fuzz` runs a campaign. The tests in tests/fuzz drive the same table.
"""
