"""A cluster's training, lived through on one machine by some of its ranks: everything but numbers, network and time."""
