"""A `Report` value and its three renderings: one HTML file, Markdown for a pull request, a notebook. Pure."""
