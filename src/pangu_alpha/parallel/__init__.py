"""How the network and its training step are laid over the mesh."""
