"""The commands below `ftspec data`, one thin file each."""
