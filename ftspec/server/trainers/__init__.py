"""What trains and answers behind the server app."""
