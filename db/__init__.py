"""The database: typed models, migrations, and every state transition as one function.

The database is the truth. Writes go through `db.transitions.*`, each one transaction and each
safe to repeat; reads through `db.queries`. Every query carries the tenant.
"""
