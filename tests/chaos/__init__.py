"""Two clusters and their database are killed at random while they work; afterwards everything is accounted for."""
