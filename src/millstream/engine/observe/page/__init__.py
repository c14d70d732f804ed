"""The live page: what an application does now, in a browser; acts only with a token."""
