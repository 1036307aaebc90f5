"""Parts that several attacks share: data terms, priors, optimisation, training, networks."""
