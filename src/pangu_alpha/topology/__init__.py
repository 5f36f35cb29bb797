"""Where work is placed: which rank is in which group, which layer is on which stage. No MindSpore."""
