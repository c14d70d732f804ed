"""Tables: what sinks of tables share: types, SQL, errors, batches that are handed over."""
