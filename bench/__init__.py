"""What ``make bench`` measures: Qiao beside programs that do the same work and nothing else."""
