"""Speed and accuracy, measured in one run and reported with the command that made them."""
