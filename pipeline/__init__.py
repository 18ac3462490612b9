"""Reading ink: page image in, readings out. Pure; its only door is `pipeline.read.read_pages`."""
