"""What a workspace takes in: DataFrames and registered views, into both stores."""
