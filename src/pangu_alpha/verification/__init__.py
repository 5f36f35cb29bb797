"""The proof: programs of whole layouts, executed and compared with the network on one device."""
