"""Reading compiled programs: graphs and control flow, what they send, which parts of tensors they hold. None is run."""
