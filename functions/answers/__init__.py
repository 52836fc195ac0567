"""What handlers answer, by area: views of the domain's documents, and the shapes of what is put together here."""
