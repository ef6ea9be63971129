"""The words of the project as values: frozen, typed, standard library only."""
