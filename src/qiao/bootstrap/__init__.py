"""The one place that wires everything: configuration, the engine, the processes that serve."""
