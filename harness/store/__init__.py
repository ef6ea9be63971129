"""The store: what runs planned and observed, kept so that a crash of any part loses nothing that was acknowledged.

One SQLite file and content-addressed blobs in a private folder, one writer at a time; a run leaves it as a bundle.
"""
