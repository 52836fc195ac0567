"""The database: migrations, named queries and the canonical schema. All SQL of the project lives here."""
