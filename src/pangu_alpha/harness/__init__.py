"""lm-evaluation-harness: this project's networks as a model of it, and the paper's tasks for any other model of it."""
