"""Infrastructure shared by every domain: settings, database, blobs, identity, telemetry, clock, errors."""
