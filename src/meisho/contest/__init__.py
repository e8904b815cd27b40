"""A contest entry: from folders of photos to the table that is handed in; a bundle that makes it offline."""
