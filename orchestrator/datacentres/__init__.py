"""The remote data centres: their slave stacks, links and end points on the optical network."""
