"""Reading features as DataFrames: online now, as of any instant, as known at any instant, point-in-time offline."""
