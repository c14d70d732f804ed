"""The engine: everything below the faces; snake_case, no knowledge of PySpark's surface."""
