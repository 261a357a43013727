"""Part IV. What it is for: learning from data, by the gradients of Part III."""
