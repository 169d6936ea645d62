"""Drills: start the stack, run the timeline and the procedure under test, then score and report what happened."""
