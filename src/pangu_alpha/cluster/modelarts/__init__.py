"""One card of a ModelArts job: its place, its storage, and its life from boot to end."""
