"""The live page: what an application does now, in a browser; reads, and changes nothing."""
