"""The paper's evaluation (§5): tasks as data, prompts, scoring, and what belongs beside a score."""
