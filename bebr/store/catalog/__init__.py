"""What a database holds: models, collections, segments and unsealed writes, in SQLite or PostgreSQL."""
