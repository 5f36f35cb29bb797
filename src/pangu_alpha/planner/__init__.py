"""What a layout costs, from the recipe alone: memory and the time of a pipeline's tasks. No MindSpore."""
