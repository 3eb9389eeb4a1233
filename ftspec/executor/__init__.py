"""Does a plan: intent, one effect, outcome."""
