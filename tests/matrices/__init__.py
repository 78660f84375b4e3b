"""Random matrices of every condition, shape and layout, through every function of linear algebra."""
