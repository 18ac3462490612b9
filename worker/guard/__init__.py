"""Documents are opened in a child process with limits, so that no file can stop a worker.

opener     opens one document after another, and goes on behind the page that killed the child
process    the child as its parent sees it: started, asked, waited for, killed
protocol   what goes through the pipes between the two
program    what the child runs: `python -m worker.guard.program`
"""
