"""The database: models, migrations, queries, and every state transition as one function.

The database is the truth; a queue message is only a hint. All SQL is in this package. Writes go
through the functions of `db.transitions`, each of which is safe to repeat in a new transaction. The
API reads through `db.queries`, where every query is limited to one tenant.
"""
