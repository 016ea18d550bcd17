"""A configuration as one change: carried out, undone, on trial, confirmed, rolled back."""
