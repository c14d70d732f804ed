"""Tables: what queries read and write outside: files, buckets, databases."""
