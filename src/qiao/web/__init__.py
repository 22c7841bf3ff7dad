"""The doors: parse, call a use case, render. No rule about money lives here."""
