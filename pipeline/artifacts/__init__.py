"""Model files: write them, load them safely, find them by URI. Training is not here."""
