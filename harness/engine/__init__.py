"""Effects in order: sessions with agents, dispatch, runs, resumption. Decides nothing that is not decided below."""
