"""What several attacks share: priors and the optimiser's loop."""
