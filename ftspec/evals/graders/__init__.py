"""One file per grader type, found by name; each exports its class as `grader`."""
