"""Plans, diagnostics and tables -> text, JSON, markdown. Pure."""
