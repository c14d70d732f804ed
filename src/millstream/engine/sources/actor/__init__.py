"""Actors: supervised ones that store what they like, fed from here or from elsewhere."""
