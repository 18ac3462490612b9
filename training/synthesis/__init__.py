"""Pages that the project renders itself: real MNIST digits on its own paper, with known truth."""
