"""Claims of a spec (`expect`) held against measurements: `dlx verify`, and exact values in float64."""
