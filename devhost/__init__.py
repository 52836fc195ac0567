"""Development only: runs the app on a laptop with real PostgreSQL, the blob emulator and a small functions host."""
