"""What every simulator needs besides its wire: scaled time, faults, scenarios, notifications."""
