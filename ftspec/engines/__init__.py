"""Places that train: one client of the wire protocol, and a profile per engine (`ftspec.engines.profiles`)."""
