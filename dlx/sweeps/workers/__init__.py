"""Workers that train the trials of a sweep: in this process, in others, or on a Ray cluster."""
