"""Published data sets in their own file formats, and digits that come with the package."""
