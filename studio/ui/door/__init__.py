"""Who may come in and what each may do: accounts, login, gate, guests."""
