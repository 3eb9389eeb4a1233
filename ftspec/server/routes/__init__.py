"""The resources of the protocol, a file each; every one exports `routes`."""
