"""What the command line says: messages, tables, progress."""
