"""The `ftspec` command: a lazy group, one thin file per command in this folder."""
