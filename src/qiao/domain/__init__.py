"""What payments are: money, ids, outcomes, states, errors. Plain Python, no I/O, no framework."""
