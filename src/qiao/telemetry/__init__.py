"""What the layers above the channels tell of themselves: metrics, traces, logs, no secrets."""
