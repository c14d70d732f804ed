"""Twitter: the filtered and the sampled stream of X."""
